// How fast bytes may flow through all the threads that share a limiter.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "core/environment.h"

namespace veza {

// Thread-safe. The rate may be changed at any time, also while threads wait.
class RateLimiter {
 public:
  // `rate`: bytes a second, 0 for no limit; read again and again, and outlives the limiter.
  RateLimiter(const Environment& environment, const std::atomic<std::uint64_t>& rate)
      : environment_(environment), rate_(rate) {}

  // Called before (or after) each use of so many bytes: waits until the use fits the rate. A use is
  // let through at once when nothing is owed, and paid for by whoever comes next, so a piece larger
  // than a second's worth does no harm. Returns early when the environment is cancelled.
  void Pass(std::uint64_t bytes);

  // What threads have waited, added up.
  std::chrono::microseconds waited() const { return std::chrono::microseconds(waited_us_.load()); }

 private:
  // What is still owed before anybody may pass; at most `pause` says how long to wait for it.
  bool Owes(std::chrono::milliseconds& pause);

  const Environment& environment_;
  const std::atomic<std::uint64_t>& rate_;
  std::atomic<std::int64_t> waited_us_{0};

  std::mutex mutex_;
  double owed_ = 0;  // bytes that were used ahead of the rate
  SteadyTime settled_{};
};

}  // namespace veza
