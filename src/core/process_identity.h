// Finds out whether a process that recorded its identity somewhere has ended since.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace veza {

// The identity of this process: boot id, PID namespace, process id and start time. It means
// something only on the same machine, until the machine restarts, and in the same PID namespace.
// Empty when /proc does not tell.
std::string IdentifyThisProcess();
// The same for another process that runs here. Also empty when there is no such process.
std::string IdentifyProcess(pid_t pid);
// The part that all processes here have in common: the boot id and the PID namespace.
std::string IdentifyPlace();

// The start time of the process in clock ticks since boot (field 22 of /proc/PID/stat). Together
// with the process id it identifies a process until the machine restarts. Empty when there is no
// such process.
std::string StartOf(pid_t pid);

// The parent's process id. nullopt when there is no such process or /proc does not tell.
std::optional<pid_t> ParentOf(pid_t pid);

// True only when it is certain that the process has ended: it ran here, and its process id is free
// or belongs to another process or to a zombie now. False when that is not certain: another
// machine, another container, or a restart of this machine since.
bool HasEnded(std::string_view process);

}  // namespace veza
