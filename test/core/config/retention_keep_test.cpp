#include "core/config/retention_keep.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

using Rules = std::vector<KeepRule>;

TEST(RetentionKeep, NumbersAndPeriodsAreRead) {
  const Rules rules = {{7, KeepPeriod::kDay}, {5, KeepPeriod::kWeek}, {12, KeepPeriod::kMonth}};
  EXPECT_EQ(ParseRetentionKeep("7 daily, 5 weekly, 12 monthly").value(), rules);
  EXPECT_EQ(ParseRetentionKeep(" 7daily,5\tWEEKLY ,12 monthly ").value(), rules);
  EXPECT_EQ(ParseRetentionKeep("10000 yearly").value(), (Rules{{10'000, KeepPeriod::kYear}}));
  EXPECT_EQ(ParseRetentionKeep("").value(), Rules());
  EXPECT_EQ(ParseRetentionKeep("  ").value(), Rules());
  EXPECT_EQ(ToText(rules[1]), "5 weekly");
  EXPECT_EQ(ToText(rules), "7 daily, 5 weekly, 12 monthly");
}

TEST(RetentionKeep, WhatCannotBeReadIsRefusedWithTheReason) {
  const auto reason = [](std::string_view text) {
    const auto rules = ParseRetentionKeep(text);
    EXPECT_FALSE(rules.has_value()) << text;
    return rules.has_value() ? "" : rules.error().message;
  };
  EXPECT_EQ(reason("daily"), "\"daily\" does not begin with a number");
  EXPECT_EQ(reason("-1 daily"),
            "the number in \"-1 daily\" is outside the valid range (1 .. 10000)");
  EXPECT_EQ(reason("0 daily"), "the number in \"0 daily\" is outside the valid range (1 .. 10000)");
  EXPECT_EQ(reason("10001 daily"),
            "the number in \"10001 daily\" is outside the valid range (1 .. 10000)");
  EXPECT_EQ(reason("99999999999 daily"),
            "the number in \"99999999999 daily\" is outside the valid range (1 .. 10000)");
  EXPECT_EQ(reason("7"), "\"7\" does not name a period");
  EXPECT_EQ(reason("7 hourly"), "\"7 hourly\" does not name a period");
  EXPECT_EQ(reason("7.5 daily"), "\"7.5 daily\" does not name a period");
  EXPECT_EQ(reason("7 daily 5 weekly"), "\"7 daily 5 weekly\" does not name a period");
  EXPECT_EQ(reason("7 daily, 3 daily"), "\"3 daily\" names a period for the second time");
  EXPECT_EQ(reason("7 daily,"), "nothing stands behind the last comma");
  EXPECT_EQ(reason("7 daily, "), "nothing stands behind the last comma");
  EXPECT_EQ(reason(","), "\"\" does not begin with a number");
  EXPECT_EQ(reason("7 daily,,5 weekly"), "\"\" does not begin with a number");
}

TEST(RetentionKeep, PeriodsAreNamedByUtcAndWeeksBeginOnMonday) {
  using namespace std::chrono;
  const auto at = [](sys_days day, seconds time) { return TimePoint(day + time); };
  const TimePoint sunday = at(sys_days(2026y / January / 4), 24h - 1s);
  EXPECT_EQ(NamePeriod(KeepPeriod::kDay, sunday), "2026-01-04");
  EXPECT_EQ(NamePeriod(KeepPeriod::kWeek, sunday), "week of 2025-12-29");
  EXPECT_EQ(NamePeriod(KeepPeriod::kMonth, sunday), "2026-01");
  EXPECT_EQ(NamePeriod(KeepPeriod::kYear, sunday), "2026");
  EXPECT_EQ(NamePeriod(KeepPeriod::kWeek, sunday + 1s), "week of 2026-01-05");
}

TEST(RetentionKeep, OfTwoRulesForAPeriodTheGreaterNumberCounts) {
  Rules rules = {{5, KeepPeriod::kWeek}, {7, KeepPeriod::kDay}};
  AddRules(rules, {{6, KeepPeriod::kDay}, {6, KeepPeriod::kWeek}, {1, KeepPeriod::kYear}});
  EXPECT_EQ(rules, (Rules{{6, KeepPeriod::kWeek}, {7, KeepPeriod::kDay}, {1, KeepPeriod::kYear}}));
}

}  // namespace
}  // namespace veza
