#include "core/schedule/schedule.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

using std::chrono::minutes;

TimePoint Utc(std::string_view text) {
  return ParseUtc(text).value();
}

TimeZone Zone(std::string_view name) {
  auto zone = TimeZone::Find(name);
  EXPECT_TRUE(zone.has_value()) << (zone ? "" : zone.error().message);
  return zone.value_or(TimeZone());
}

Schedule Make(std::string_view text, std::string_view zone) {
  return Schedule::Parse(text, Zone(zone)).value();
}

std::string Next(const Schedule& schedule, std::string_view after) {
  return FormatUtc(schedule.NextAfter(Utc(after)));
}
std::string Latest(const Schedule& schedule, std::string_view until) {
  return FormatUtc(schedule.LatestUpTo(Utc(until)));
}

TEST(TimeZone, Names) {
  EXPECT_EQ(Zone("UTC").name(), "UTC");
  EXPECT_EQ(Zone("utc").name(), "UTC");
  EXPECT_EQ(Zone("europe/berlin").name(), "Europe/Berlin");
  EXPECT_EQ(Zone("America/Argentina/Buenos_Aires").name(), "America/Argentina/Buenos_Aires");
  for (const char* name : {"Europe/Atlantis", "", "CEST", "../../../etc/passwd", "Europe"}) {
    const auto zone = TimeZone::Find(name);
    ASSERT_FALSE(zone.has_value()) << name;
    EXPECT_EQ(zone.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(zone.error().message, "there is no time zone \"" + std::string(name) + "\"");
    EXPECT_FALSE(zone.error().hint.empty());
  }
}

TEST(Schedule, InUtc) {
  const Schedule schedule = Make("0 2 * * 0", "UTC");
  EXPECT_EQ(Next(schedule, "2026-11-22T02:00:00Z"), "2026-11-29T02:00:00Z");
  EXPECT_EQ(Next(schedule, "2026-11-22T01:59:59.999999Z"), "2026-11-22T02:00:00Z");
  EXPECT_EQ(Latest(schedule, "2026-11-22T02:00:00Z"), "2026-11-22T02:00:00Z");
  EXPECT_EQ(Latest(schedule, "2026-11-22T01:59:59.999999Z"), "2026-11-15T02:00:00Z");
  EXPECT_EQ(schedule.text(), "0 2 * * 0");
  EXPECT_EQ(schedule.Describe(), "at 02:00 on Sunday");
}

TEST(Schedule, TheZoneDecidesWhichDayItIs) {
  const Schedule schedule = Make("30 0 * * mon", "Asia/Kolkata");  // UTC+05:30
  EXPECT_EQ(Next(schedule, "2026-11-22T00:00:00Z"), "2026-11-22T19:00:00Z")
      << "still Sunday in UTC";
  EXPECT_EQ(Next(Make("0 20 * * sun", "America/Los_Angeles"), "2026-11-22T12:00:00Z"),
            "2026-11-23T04:00:00Z");
}

TEST(Schedule, SummerAndWinter) {
  const Schedule schedule = Make("0 12 * * *", "Europe/Berlin");
  EXPECT_EQ(Next(schedule, "2026-03-28T00:00:00Z"), "2026-03-28T11:00:00Z");
  EXPECT_EQ(Next(schedule, "2026-03-28T11:00:00Z"), "2026-03-29T10:00:00Z");
  EXPECT_EQ(Next(schedule, "2026-10-24T10:00:00Z"), "2026-10-25T11:00:00Z");
}

// Berlin, 29 March 2026: at 01:00 UTC the clocks go from 02:00 to 03:00.
TEST(Schedule, ASkippedTimeRunsOnceAfterTheGap) {
  const Schedule schedule = Make("30 2 * * *", "Europe/Berlin");
  EXPECT_EQ(Next(schedule, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
  EXPECT_EQ(Next(schedule, "2026-03-29T00:59:59Z"), "2026-03-29T01:00:00Z");
  EXPECT_EQ(Next(schedule, "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
  EXPECT_EQ(Latest(schedule, "2026-03-29T01:00:00Z"), "2026-03-29T01:00:00Z");
  EXPECT_EQ(Latest(schedule, "2026-03-29T00:59:59Z"), "2026-03-28T01:30:00Z");

  const Schedule often = Make("*/20 * * * *", "Europe/Berlin");
  EXPECT_EQ(Next(often, "2026-03-29T00:40:00Z"), "2026-03-29T01:00:00Z");
  EXPECT_EQ(Next(often, "2026-03-29T01:00:00Z"), "2026-03-29T01:20:00Z");
}

// Berlin, 25 October 2026: at 01:00 UTC the clocks go from 03:00 back to 02:00.
TEST(Schedule, ARepeatedTimeRunsOnceTheFirst) {
  const Schedule schedule = Make("30 2 * * *", "Europe/Berlin");
  EXPECT_EQ(Next(schedule, "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
  EXPECT_EQ(Next(schedule, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
  EXPECT_EQ(Latest(schedule, "2026-10-25T01:10:00Z"), "2026-10-25T00:30:00Z") << "02:10, again";
  EXPECT_EQ(Latest(schedule, "2026-10-25T01:30:00Z"), "2026-10-25T00:30:00Z") << "02:30, again";

  const Schedule often = Make("*/20 * * * *", "Europe/Berlin");
  EXPECT_EQ(Next(often, "2026-10-25T00:40:00Z"), "2026-10-25T02:00:00Z");
  EXPECT_EQ(Latest(often, "2026-10-25T01:59:00Z"), "2026-10-25T00:40:00Z");
}

TEST(Schedule, UnusualZones) {
  // The gap is half an hour, at 02:00 on 4 October 2026.
  EXPECT_EQ(Next(Make("15 2 * * *", "Australia/Lord_Howe"), "2026-10-03T12:00:00Z"),
            "2026-10-03T15:30:00Z");
  // Midnight itself falls into the gap.
  EXPECT_EQ(Next(Make("0 0 * * *", "America/Sao_Paulo"), "2018-11-03T12:00:00Z"),
            "2018-11-04T03:00:00Z");
  // Samoa skipped 30 December 2011.
  const Schedule samoa = Make("0 9 * * *", "Pacific/Apia");
  EXPECT_EQ(Next(samoa, "2011-12-29T20:00:00Z"), "2011-12-30T10:00:00Z");
  EXPECT_EQ(Next(samoa, "2011-12-30T10:00:00Z"), "2011-12-30T19:00:00Z");
  EXPECT_EQ(Latest(samoa, "2011-12-30T18:59:00Z"), "2011-12-30T10:00:00Z");
}

// Finds every run of a whole year in both directions, and skips none.
TEST(Schedule, BothDirectionsAgreeThroughAYear) {
  for (const char* zone : {"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}) {
    for (const char* text : {"30 2 * * *", "17 */6 * * *", "0 0 1 * fri"}) {
      const Schedule schedule = Make(text, zone);
      TimePoint run = schedule.NextAfter(Utc("2026-01-01T00:00:00Z"));
      while (run < Utc("2027-01-01T00:00:00Z")) {
        const TimePoint next = schedule.NextAfter(run);
        EXPECT_GT(next, run);
        EXPECT_EQ(schedule.LatestUpTo(next), next);
        EXPECT_EQ(schedule.LatestUpTo(next - std::chrono::microseconds(1)), run)
            << text << " in " << zone << " before " << FormatUtc(next);
        EXPECT_EQ(schedule.NextAfter(next - std::chrono::microseconds(1)), next);
        run = next;
      }
    }
  }
}

TEST(Schedule, EveryLocalDayHasItsRun) {
  const Schedule schedule = Make("30 2 * * *", "America/New_York");
  int runs = 0;
  TimePoint run = schedule.NextAfter(Utc("2026-01-01T00:00:00Z"));
  for (; run < Utc("2027-01-01T00:00:00Z"); run = schedule.NextAfter(run)) {
    ++runs;
  }
  EXPECT_EQ(runs, 365);
}

TEST(Schedule, PassesOnTheErrorsOfTheExpression) {
  EXPECT_EQ(Schedule::Parse("0 2 * * 8", TimeZone()).error().message,
            "invalid day of week \"8\" at position 9");
}

}  // namespace
}  // namespace veza
