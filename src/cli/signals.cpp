#include "cli/signals.h"

#include <cerrno>
#include <csignal>

namespace veza::cli {
namespace {

// Used by the signal handler. Set before the handler is installed, and never freed.
Cancellation* signal_cancellation = nullptr;
volatile std::sig_atomic_t caught_signal = 0;

void HandleSignal(int signal_number) {
  const int interrupted_errno = errno;
  caught_signal = signal_number;
  signal_cancellation->Cancel();
  errno = interrupted_errno;
}

}  // namespace

void InstallSignalHandlers(Cancellation& cancellation, SecondSignal second) {
  signal_cancellation = &cancellation;
  struct sigaction action {};
  action.sa_handler = HandleSignal;
  action.sa_flags = SA_RESTART;
  if (second == SecondSignal::kKills) {
    action.sa_flags |= static_cast<int>(SA_RESETHAND);
  }
  sigemptyset(&action.sa_mask);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGALRM}) {
    sigaction(signal_number, &action, nullptr);
  }
  // Whoever ignores it passes that on to us, and we could not wait for our own children.
  std::signal(SIGCHLD, SIG_DFL);
  // When a reader closes our output or a connection, we want an error instead of being killed.
  std::signal(SIGPIPE, SIG_IGN);
}

int CaughtSignal() {
  return caught_signal;
}

}  // namespace veza::cli
