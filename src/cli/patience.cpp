#include "cli/patience.h"

#include "core/thread_group.h"

namespace veza::cli {

Status WithPatience(const Environment& environment, std::chrono::milliseconds patience,
                    const Cancellation* stop, const std::function<Status()>& work) {
  constexpr std::chrono::milliseconds kLook{50};
  Cancellation done;
  ThreadGroup watchdog;
  RETURN_IF_ERROR(watchdog.Start([&] {
    const Clock& clock = *environment.clock;
    const SteadyTime deadline = clock.Steady() + patience;
    while (clock.Sleep(kLook, &done)) {
      if (clock.Steady() >= deadline || (stop != nullptr && stop->cancelled())) {
        environment.cancellation->Cancel();
        return;
      }
    }
  }));
  Status status = CatchExceptions(work);
  done.Cancel();
  watchdog.Join();
  return status;
}

}  // namespace veza::cli
