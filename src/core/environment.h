// What the core takes from the outside world, passed in so that tests own it: the clock, randomness
// and the wish to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

using TimePoint = std::chrono::sys_time<std::chrono::microseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

// A wish to stop, shared between the thread that makes it and the threads that obey it. All members
// may be called from any thread and Cancel() also from a signal handler. Whoever blocks in poll()
// or curl_multi_poll() adds fd(), which is readable from Cancel() until Reset().
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
  // kCancelled if somebody asked.
  Status Check() const;

 private:
  std::atomic<bool> cancelled_{false};
  int fd_;
};

// The error of an operation that was cancelled. What has been woken by a cancellation returns this,
// and not Check(): somebody may have taken the cancellation back since.
Error Cancelled();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  virtual SteadyTime Steady() const = 0;
  // Returns early, with false, when `cancellation` (may be null) is or becomes cancelled.
  virtual bool Sleep(std::chrono::milliseconds duration,
                     const Cancellation* cancellation) const = 0;
};

// Thread-safe, cryptographically strong.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(MutableByteView bytes) = 0;
  // Uniform in [0, bound); bound > 0. For jitter, not for keys.
  std::uint64_t Below(std::uint64_t bound);
};

const Clock& SystemClock();
Random& SystemRandom();

struct Environment {
  const Clock* clock = &SystemClock();
  Random* random = &SystemRandom();
  std::shared_ptr<Cancellation> cancellation = std::make_shared<Cancellation>();
};

// "2026-11-22T02:00:00Z", with six more digits where there is a fraction, and back.
std::string FormatUtc(TimePoint time);
Result<TimePoint> ParseUtc(std::string_view text);

}  // namespace veza
