#include "core/rate_limiter.h"

#include <gtest/gtest.h>

#include <thread>

namespace veza {
namespace {

// A clock whose time passes only while somebody sleeps.
class SleepClock final : public Clock {
 public:
  TimePoint Now() const override { return {}; }
  SteadyTime Steady() const override { return SteadyTime(slept_.load()); }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    slept_.store(slept_.load() + duration);
    if (on_sleep) {
      on_sleep();
    }
    return cancellation == nullptr || !cancellation->cancelled();
  }
  std::chrono::duration<double> slept() const { return slept_.load(); }
  std::function<void()> on_sleep;

 private:
  mutable std::atomic<std::chrono::nanoseconds> slept_{std::chrono::nanoseconds(0)};
};

class RateLimiterTest : public testing::Test {
 protected:
  RateLimiterTest() { environment_.clock = &clock_; }

  SleepClock clock_;
  Environment environment_;
  std::atomic<std::uint64_t> rate_{0};
  RateLimiter limiter_{environment_, rate_};
};

TEST_F(RateLimiterTest, WithoutARateNobodyWaits) {
  for (int i = 0; i < 1000; ++i) {
    limiter_.Pass(1U << 30);
  }
  EXPECT_EQ(clock_.slept().count(), 0);
  EXPECT_EQ(limiter_.waited().count(), 0);
}

TEST_F(RateLimiterTest, KeepsTheRate) {
  rate_ = 1'000'000;
  for (int i = 0; i < 101; ++i) {
    limiter_.Pass(100'000);
  }
  EXPECT_NEAR(clock_.slept().count(), 10.0, 0.2);  // the first piece passes at once
  EXPECT_NEAR(static_cast<double>(limiter_.waited().count()), 10e6, 0.2e6);
}

TEST_F(RateLimiterTest, APieceLargerThanASecondsWorthPasses) {
  rate_ = 1000;
  limiter_.Pass(10'000);
  EXPECT_EQ(clock_.slept().count(), 0);
  limiter_.Pass(1);
  EXPECT_NEAR(clock_.slept().count(), 10.0, 0.2);
}

TEST_F(RateLimiterTest, AnotherRateIsFeltWhileWaiting) {
  rate_ = 1;
  limiter_.Pass(1'000'000);
  clock_.on_sleep = [this] {
    if (clock_.slept() > std::chrono::seconds(1)) {
      rate_ = 1'000'000;
    }
  };
  limiter_.Pass(1);
  EXPECT_NEAR(clock_.slept().count(), 2.0, 0.3);
  clock_.on_sleep = [this] { rate_ = 0; };
  limiter_.Pass(1);
  EXPECT_LT(clock_.slept().count(), 3.0);
}

TEST_F(RateLimiterTest, CancellingEndsTheWait) {
  rate_ = 1;
  limiter_.Pass(1'000'000);
  environment_.cancellation->Cancel();
  limiter_.Pass(1);
  EXPECT_LT(clock_.slept().count(), 1.0);
}

}  // namespace
}  // namespace veza
