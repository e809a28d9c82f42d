// The programs that the scheduler starts on this node: restore drill and verification, by the
// settings schedule_drill, drill_command, schedule_verify and verify_command.
#pragma once

#include "core/config/config.h"

namespace veza::pg {

// Called in the scheduler's loop: starts what is due, one at a time for each, logs how it ended.
// Returns when to call again, in milliseconds, at the latest. A program runs through /bin/sh in a
// process group of its own, at the lowest priority of CPU and disk, and does not outlive the
// scheduler. A run that was missed, because the server was down or the one before still ran, is not
// made up for. `config` null: nothing is started, and what runs goes on.
long RunScheduledCommands(const Config* config);

// The schedules may have changed: the next runs are computed from now on.
void RestartSchedulesOfCommands();

}  // namespace veza::pg
