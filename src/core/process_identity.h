// Whether a process that left a note somewhere has ended since.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

namespace veza {

// Who this process is, to nobody but processes of the same run of the same machine's kernel and of
// the same PID namespace: boot id, namespace, process id, time of its start. Empty when /proc does
// not tell.
std::string IdentifyThisProcess();
// The same for another process that runs here. Empty also when there is none.
std::string IdentifyProcess(pid_t pid);
// The part that they have in common: this run of the kernel, this PID namespace.
std::string IdentifyPlace();

// Of the server's process that recovers, for one whom it has started by restore_command and who so
// runs in its data directory. Empty when there is no server above us.
std::string IdentifyRecoveringProcess();

// When it was started, in clock ticks since boot, as field 22 of /proc/PID/stat says it: together
// with its id it names a process for as long as the machine runs. Empty when there is none.
std::string StartOf(pid_t pid);

// Nothing when there is no such process or /proc does not tell.
std::optional<pid_t> ParentOf(pid_t pid);

// True only if it is certain that the process has ended: it ran where we run, and its id is free or
// another's. Not certain, and false: another machine, another container, a reboot since.
bool HasEnded(std::string_view process);

}  // namespace veza
