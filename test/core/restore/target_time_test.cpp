#include "core/restore/target_time.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace veza {
namespace {

class LocalZone {
 public:
  explicit LocalZone(const char* zone) {
    if (const char* before = std::getenv("TZ"); before != nullptr) {
      before_ = before;
    }
    setenv("TZ", zone, 1);
    tzset();
  }
  ~LocalZone() {
    if (before_.has_value()) {
      setenv("TZ", before_->c_str(), 1);
    } else {
      unsetenv("TZ");
    }
    tzset();
  }

 private:
  std::optional<std::string> before_;
};

// POSIX rules instead of names, so that no zone files are needed. Central Europe has summer time
// from the last Sunday of March, 02:00, to the last Sunday of October, 03:00.
constexpr const char* kBerlin = "CET-1CEST,M3.5.0,M10.5.0/3";

std::string Canonical(std::string_view text) {
  const auto time = ParseTargetTime(text);
  return time.has_value() ? FormatTargetTime(*time) : "ERROR " + time.error().message;
}

TEST(TargetTime, WithAZone) {
  const LocalZone zone(kBerlin);
  for (const char* text :
       {"2026-11-22 02:00:00+00", "2026-11-22 02:00:00Z", "2026-11-22T02:00:00Z",
        "2026-11-22 02:00:00 UTC", "2026-11-22 02:00 GMT", "2026-11-22 02:00:00.0+00:00",
        "2026-11-22 04:30:00+0230", "2026-11-22 04:30:00 +02:30", "2026-11-21 21:00:00-05",
        "2026-11-21 18:30-07:30"}) {
    EXPECT_EQ(Canonical(text), "2026-11-22 02:00:00.000000+00") << text;
  }
  EXPECT_EQ(Canonical("2026-11-22 02:00:00.25+00"), "2026-11-22 02:00:00.250000+00");
  EXPECT_EQ(Canonical("2026-11-22 02:00:00.000001+00"), "2026-11-22 02:00:00.000001+00");
  EXPECT_EQ(Canonical("1969-12-31 23:59:59.9+00"), "1969-12-31 23:59:59.900000+00");
  EXPECT_EQ(Canonical("2024-02-29 00:00:00+00"), "2024-02-29 00:00:00.000000+00");
}

TEST(TargetTime, WithoutAZoneItIsLocal) {
  const LocalZone zone(kBerlin);
  EXPECT_EQ(Canonical("2026-11-22 02:00:00"), "2026-11-22 01:00:00.000000+00");
  EXPECT_EQ(Canonical("2026-07-01 02:00:00.5"), "2026-07-01 00:00:00.500000+00");
  EXPECT_EQ(Canonical("2026-11-22"), "2026-11-21 23:00:00.000000+00");
  // The hours before and after a change are unambiguous.
  EXPECT_EQ(Canonical("2026-03-29 01:59:59"), "2026-03-29 00:59:59.000000+00");
  EXPECT_EQ(Canonical("2026-03-29 03:00:00"), "2026-03-29 01:00:00.000000+00");
  EXPECT_EQ(Canonical("2026-10-25 01:59:59"), "2026-10-24 23:59:59.000000+00");
  EXPECT_EQ(Canonical("2026-10-25 03:00:00"), "2026-10-25 02:00:00.000000+00");

  const LocalZone utc("UTC0");
  EXPECT_EQ(Canonical("2026-11-22 02:00:00"), "2026-11-22 02:00:00.000000+00");
  const LocalZone samoa("XXX11");
  EXPECT_EQ(Canonical("2026-11-22 02:00:00"), "2026-11-22 13:00:00.000000+00");
}

TEST(TargetTime, LocalTimesThatAreNotOneMomentAreRefused) {
  const LocalZone zone(kBerlin);
  const auto skipped = ParseTargetTime("2026-03-29 02:30:00");
  ASSERT_FALSE(skipped.has_value());
  EXPECT_NE(skipped.error().message.find("does not exist"), std::string::npos);
  const auto twice = ParseTargetTime("2026-10-25 02:30:00");
  ASSERT_FALSE(twice.has_value());
  EXPECT_NE(twice.error().message.find("exists twice"), std::string::npos);
  EXPECT_EQ(Canonical("2026-10-25 02:30:00+02"), "2026-10-25 00:30:00.000000+00");
}

TEST(TargetTime, Refuses) {
  for (const char* text : {"",
                           "now",
                           "yesterday",
                           "2026",
                           "2026-11",
                           "2026-13-01",
                           "2026-02-29",
                           "2026-00-10",
                           "0000-01-01",
                           "26-11-22",
                           "2026-11-22 ",
                           "2026-11-22 2:00",
                           "2026-11-22 24:00:00",
                           "2026-11-22 02:60",
                           "2026-11-22 02:00:60",
                           "2026-11-22 02:00:00.",
                           "2026-11-22 02:00:00,5",
                           "2026-11-22 02:00:00.1234567",
                           "2026-11-22 02:00:00 CET",
                           "2026-11-22 02:00:00+",
                           "2026-11-22 02:00:00+1",
                           "2026-11-22 02:00:00+16",
                           "2026-11-22 02:00:00+01:60",
                           "2026-11-22 02:00:00+01:",
                           "2026-11-22 02:00:00+01x",
                           "2026-11-22 02:00:00Zx",
                           "22.11.2026 02:00",
                           " 2026-11-22 02:00:00+00"}) {
    const auto time = ParseTargetTime(text);
    ASSERT_FALSE(time.has_value()) << text;
    EXPECT_EQ(time.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(time.error().hint.empty());
  }
}

}  // namespace
}  // namespace veza
