// The programs that the scheduler starts on this node: restore drill and verification (settings
// schedule_drill, drill_command, schedule_verify and verify_command).
#pragma once

#include "core/config/config.h"

namespace veza::pg {

// Called in the scheduler's loop. Starts the programs that are due, at most one of each kind at a
// time, and logs how they ended. Returns after how many milliseconds it has to be called again at
// the latest.
//
// A program runs through /bin/sh in a process group of its own, with the lowest priority of CPU and
// disk. It is stopped when the scheduler ends. A missed run (the server was down, or the previous
// run was still going on) is not made up for. `config` is null when there is no repository: then
// nothing is started, and what runs goes on.
long RunScheduledCommands(const Config* config);

// Called when the schedules may have changed. The next runs are computed from the present time.
void RestartSchedulesOfCommands();

}  // namespace veza::pg
