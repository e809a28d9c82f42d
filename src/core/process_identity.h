// Whether a process that left a note somewhere has ended since.
#pragma once

#include <string>
#include <string_view>

namespace veza {

// Who this process is, to nobody but processes of the same run of the same machine's kernel and of
// the same PID namespace: boot id, namespace, process id, time of its start. Empty when /proc does
// not tell.
std::string IdentifyThisProcess();

// True only if it is certain that the process has ended: it ran where we run, and its id is free or
// another's. Not certain, and false: another machine, another container, a reboot since.
bool HasEnded(std::string_view process);

}  // namespace veza
