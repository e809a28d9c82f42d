// Limits how many bytes a second all threads that share a limiter may transfer together.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "core/environment.h"

namespace veza {

// Thread-safe. The rate may be changed at any time, even while threads wait.
class RateLimiter {
 public:
  // `rate` is in bytes a second; 0 means no limit. It is read again on every call, and must outlive
  // the limiter.
  RateLimiter(const Environment& environment, const std::atomic<std::uint64_t>& rate)
      : environment_(environment), rate_(rate) {}

  // Call it before (or after) each transfer of `bytes`. It waits until the bytes of earlier calls
  // are paid off at the current rate, and then adds these bytes to what is owed. So a first
  // transfer of any size passes at once, and the next caller waits for it. Returns early when the
  // environment is cancelled.
  void Pass(std::uint64_t bytes);

  // The time that all threads have waited, added up.
  std::chrono::microseconds waited() const { return std::chrono::microseconds(waited_us_.load()); }

 private:
  // Returns whether bytes are still owed. If so, `pause` says how long to wait before asking again.
  bool Owes(std::chrono::milliseconds& pause);

  const Environment& environment_;
  const std::atomic<std::uint64_t>& rate_;
  std::atomic<std::int64_t> waited_us_{0};

  std::mutex mutex_;
  double owed_ = 0;  // bytes that have passed and are not paid off yet
  SteadyTime settled_{};
};

}  // namespace veza
