// How vezactl is asked to stop: by SIGINT, SIGTERM and SIGHUP.
#pragma once

#include "core/environment.h"

namespace veza::cli {

enum class SecondSignal {
  kKills,    // for somebody in a hurry
  kIgnored,  // for a process that must clean up
};

// The first of these signals (SIGALRM is one of them) cancels. `cancellation` must live as long as
// the process.
void InstallSignalHandlers(Cancellation& cancellation, SecondSignal second);

// The last one that came; 0 for none.
int CaughtSignal();

}  // namespace veza::cli
