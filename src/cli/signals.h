// Handling of the signals that ask vezactl to stop: SIGINT, SIGTERM and SIGHUP.
#pragma once

#include "core/environment.h"

namespace veza::cli {

enum class SecondSignal {
  kKills,    // a second signal ends the process at once
  kIgnored,  // for a process that must clean up
};

// Installs handlers for these signals and SIGALRM. The first one cancels. `cancellation` must live
// as long as the process.
void InstallSignalHandlers(Cancellation& cancellation, SecondSignal second);

// The number of the last signal that arrived; 0 when none did.
int CaughtSignal();

}  // namespace veza::cli
