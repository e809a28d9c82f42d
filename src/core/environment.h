// What the core takes from the outside world: the clock, randomness and the request to stop. They
// are passed in, so that tests can replace them.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

using TimePoint = std::chrono::sys_time<std::chrono::microseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

// A request to stop. One thread makes it and other threads obey it. All members may be called from
// any thread; Cancel() may also be called from a signal handler. A thread that blocks in poll() or
// curl_multi_poll() adds fd() to the descriptors it waits for: fd() is readable from Cancel() until
// Reset().
class Cancellation {
 public:
  Cancellation();
  ~Cancellation();
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void Cancel() noexcept;
  void Reset() noexcept;
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }
  int fd() const noexcept { return fd_; }
  // Returns kCancelled after Cancel(), and success otherwise.
  Status Check() const;

 private:
  std::atomic<bool> cancelled_{false};
  int fd_;
};

// The error of an operation that was cancelled. A function that a cancellation has woken returns
// this and does not call Check(), because Reset() may have been called since.
Error Cancelled();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  virtual SteadyTime Steady() const = 0;
  // Returns true after `duration`. Returns false early when `cancellation` (may be null) is or
  // becomes cancelled.
  virtual bool Sleep(std::chrono::milliseconds duration,
                     const Cancellation* cancellation) const = 0;
};

// Thread-safe, cryptographically strong.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(MutableByteView bytes) = 0;
  // Uniform in [0, bound); bound must be above 0. The remainder has a small bias: use it for
  // jitter, not for keys.
  std::uint64_t Below(std::uint64_t bound);
};

const Clock& SystemClock();
Random& SystemRandom();

struct Environment {
  const Clock* clock = &SystemClock();
  Random* random = &SystemRandom();
  std::shared_ptr<Cancellation> cancellation = std::make_shared<Cancellation>();
};

// "2026-11-22T02:00:00Z". Six digits of microseconds are added when they are not zero. ParseUtc
// reads what FormatUtc prints; other text is kInvalidArgument.
std::string FormatUtc(TimePoint time);
Result<TimePoint> ParseUtc(std::string_view text);

}  // namespace veza
