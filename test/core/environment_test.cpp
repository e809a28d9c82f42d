#include "core/environment.h"

#include <gtest/gtest.h>

#include <thread>

namespace veza {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Cancellation, EndsASleepAtOnceAndCanBeReset) {
  Cancellation cancellation;
  const SteadyTime begin = SystemClock().Steady();
  std::thread other([&] {
    SystemClock().Sleep(milliseconds(20), nullptr);
    cancellation.Cancel();
  });
  EXPECT_FALSE(SystemClock().Sleep(seconds(30), &cancellation));
  other.join();
  EXPECT_LT(SystemClock().Steady() - begin, seconds(10));
  EXPECT_EQ(cancellation.Check().error().code, ErrorCode::kCancelled);

  cancellation.Reset();
  EXPECT_TRUE(cancellation.Check().has_value());
  EXPECT_TRUE(SystemClock().Sleep(milliseconds(1), &cancellation));
}

TEST(Utc, RoundTrip) {
  const TimePoint time{seconds(1'763'776'800)};
  EXPECT_EQ(FormatUtc(time), "2025-11-22T02:00:00Z");
  EXPECT_EQ(ParseUtc("2025-11-22T02:00:00Z").value(), time);
  EXPECT_EQ(ParseUtc("2025-11-22T02:00:00.250Z").value(), time + milliseconds(250));
  EXPECT_EQ(FormatUtc(time + milliseconds(250)), "2025-11-22T02:00:00.250000Z");
}

TEST(Utc, RefusesWhatIsNotUtc) {
  for (const char* text :
       {"", "2025-11-22", "2025-11-22T02:00:00", "2025-11-22T02:00:00+01", "x"}) {
    EXPECT_EQ(ParseUtc(text).error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(Error, ErrnoBecomesTheMostSpecificCode) {
  EXPECT_EQ(ErrnoError(ENOSPC, "x").code, ErrorCode::kNoSpace);
  EXPECT_EQ(ErrnoError(ENOENT, "x").code, ErrorCode::kNotFound);
  EXPECT_EQ(ErrnoError(EIO, "could not read file \"f\"").message,
            "could not read file \"f\": Input/output error");
}

}  // namespace
}  // namespace veza
