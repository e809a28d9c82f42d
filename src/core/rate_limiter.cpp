#include "core/rate_limiter.h"

#include <algorithm>

namespace veza {

namespace {

// A waiting thread looks at the rate again after this time at the latest.
constexpr std::chrono::milliseconds kLongestPause{100};

}  // namespace

bool RateLimiter::Owes(std::chrono::milliseconds& pause) {
  const auto rate = static_cast<double>(rate_.load(std::memory_order_relaxed));
  const SteadyTime now = environment_.clock->Steady();
  const double elapsed = std::chrono::duration<double>(now - settled_).count();
  settled_ = now;
  owed_ = rate > 0 ? std::max(0.0, owed_ - elapsed * rate) : 0;
  if (owed_ <= 0) {
    return false;
  }
  const auto wait = std::chrono::milliseconds(static_cast<std::int64_t>(1000 * owed_ / rate) + 1);
  pause = std::min(wait, kLongestPause);
  return true;
}

void RateLimiter::Pass(std::uint64_t bytes) {
  if (rate_.load(std::memory_order_relaxed) == 0) {
    return;
  }
  for (;;) {
    std::chrono::milliseconds pause{0};
    {
      const std::lock_guard lock(mutex_);
      if (!Owes(pause)) {
        owed_ += static_cast<double>(bytes);
        return;
      }
    }
    waited_us_ += std::chrono::microseconds(pause).count();
    if (!environment_.clock->Sleep(pause, environment_.cancellation.get())) {
      return;
    }
  }
}

}  // namespace veza
