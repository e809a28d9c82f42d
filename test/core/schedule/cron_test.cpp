#include "core/schedule/cron.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "core/environment.h"

namespace veza {
namespace {

// Local times are written like times in UTC.
WallMinute Wall(std::string_view text) {
  return WallMinute(std::chrono::floor<std::chrono::minutes>(
      ParseUtc(std::string(text) + ":00Z").value().time_since_epoch()));
}
std::string Text(WallMinute wall) {
  return FormatUtc(TimePoint(wall.time_since_epoch())).substr(0, 16);
}

CronExpression Cron(std::string_view text) {
  auto cron = ParseCron(text);
  EXPECT_TRUE(cron.has_value()) << text << ": " << (cron ? "" : cron.error().message);
  return cron.value_or(CronExpression{});
}
std::string Next(std::string_view cron, std::string_view after) {
  return Text(NextMatch(Cron(cron), Wall(after)));
}
std::string Latest(std::string_view cron, std::string_view until) {
  return Text(LatestMatch(Cron(cron), Wall(until)));
}

void ExpectSame(std::string_view a, std::string_view b) {
  const CronExpression one = Cron(a);
  const CronExpression other = Cron(b);
  EXPECT_EQ(one.minutes, other.minutes) << a << " | " << b;
  EXPECT_EQ(one.hours, other.hours) << a << " | " << b;
  EXPECT_EQ(one.days_of_month, other.days_of_month) << a << " | " << b;
  EXPECT_EQ(one.months, other.months) << a << " | " << b;
  EXPECT_EQ(one.days_of_week, other.days_of_week) << a << " | " << b;
}

TEST(Cron, ListsRangesAndSteps) {
  ExpectSame("*/15 * * * *", "0,15,30,45 * * * *");
  ExpectSame("1-30/10 0 * * *", "1,11,21 00 * * *");
  ExpectSame("5-7,59,0 * * * *", "0,5,6,7,59 * * * *");
  ExpectSame("0 0 1-31/15 * *", "0 0 1,16,31 * *");
  ExpectSame("0 0 * 2-12/5 *", "0 0 * 2,7,12 *");
  ExpectSame("  0\t2  * * 0 ", "0 2 * * 0");
  ExpectSame("0 0 * * 3-3", "0 0 * * 3");
}

TEST(Cron, Names) {
  ExpectSame("0 0 * jan,MAR,December *", "0 0 * 1,3,12 *");
  ExpectSame("0 0 * * Mon-sat", "0 0 * * 1-6");
  ExpectSame("0 0 * * wednesday", "0 0 * * 3");
  ExpectSame("0 0 * may-jul/2 *", "0 0 * 5,7 *");
}

TEST(Cron, SundayIsBothEndsOfTheWeek) {
  ExpectSame("0 0 * * 7", "0 0 * * 0");
  ExpectSame("0 0 * * fri-sun", "0 0 * * 5,6,0");
  ExpectSame("0 0 * * 5-7", "0 0 * * 5,6,0");
  ExpectSame("0 0 * * sun-tue", "0 0 * * 0,1,2");
  ExpectSame("0 0 * * 0-7", "0 0 * * *");
  ExpectSame("0 0 * * */2", "0 0 * * 0,2,4,6");
}

TEST(Cron, Nicknames) {
  ExpectSame("@yearly", "0 0 1 1 *");
  ExpectSame("@Annually", "0 0 1 1 *");
  ExpectSame("@monthly", "0 0 1 * *");
  ExpectSame("@weekly", "0 0 * * 0");
  ExpectSame(" @daily ", "0 0 * * *");
  ExpectSame("@midnight", "0 0 * * *");
  ExpectSame("@hourly", "0 * * * *");
}

TEST(Cron, NextAndLatest) {
  EXPECT_EQ(Next("0 2 * * 0", "2026-11-22T02:00"), "2026-11-29T02:00");
  EXPECT_EQ(Next("0 2 * * 0", "2026-11-22T01:59"), "2026-11-22T02:00");
  EXPECT_EQ(Latest("0 2 * * 0", "2026-11-22T02:00"), "2026-11-22T02:00");
  EXPECT_EQ(Latest("0 2 * * 0", "2026-11-22T01:59"), "2026-11-15T02:00");
  EXPECT_EQ(Next("*/15 * * * *", "2026-12-31T23:45"), "2027-01-01T00:00");
  EXPECT_EQ(Latest("59 23 31 12 *", "2027-01-01T00:00"), "2026-12-31T23:59");
  EXPECT_EQ(Next("* * * * *", "2026-11-22T02:07"), "2026-11-22T02:08");
  EXPECT_EQ(Next("30 8-17/3 * * 1-5", "2026-11-20T17:30"), "2026-11-23T08:30");
}

TEST(Cron, MonthsOfDifferentLength) {
  EXPECT_EQ(Next("0 0 31 * *", "2026-01-31T00:00"), "2026-03-31T00:00");
  EXPECT_EQ(Latest("0 0 31 * *", "2026-03-30T00:00"), "2026-01-31T00:00");
  EXPECT_EQ(Next("0 0 29 2 *", "2024-02-29T00:00"), "2028-02-29T00:00");
  EXPECT_EQ(Next("0 0 29 2 *", "2096-03-01T00:00"), "2104-02-29T00:00") << "2100 has no leap day";
  EXPECT_EQ(Latest("0 0 29 2 *", "2103-01-01T00:00"), "2096-02-29T00:00");
}

TEST(Cron, TwoRestrictedDayFieldsAreAlternatives) {
  EXPECT_EQ(Next("0 0 13 * fri", "2026-11-10T00:00"), "2026-11-13T00:00") << "a Friday";
  EXPECT_EQ(Next("0 0 13 * fri", "2026-11-13T00:00"), "2026-11-20T00:00") << "a Friday";
  EXPECT_EQ(Next("0 0 13 * fri", "2026-12-11T00:00"), "2026-12-13T00:00") << "a Sunday";
  EXPECT_EQ(Next("0 0 13 * *", "2026-11-13T00:00"), "2026-12-13T00:00");
  EXPECT_EQ(Next("0 0 */2 * mon", "2026-11-22T00:00"), "2026-11-23T00:00") << "odd and a Monday";
  EXPECT_EQ(Next("0 0 */2 * mon", "2026-11-23T00:00"), "2026-12-07T00:00") << "30 is even";
}

TEST(Cron, TheRarestDateOfAll) {
  EXPECT_EQ(Next("0 0 29 2 */6", "2096-02-29T00:00"), "2116-02-29T00:00")
      << "29 February on a Sunday or Saturday";
  EXPECT_EQ(Text(NextMatch(Cron("0 0 29 */1 */6"), Wall("2026-11-22T00:00"))), "2026-11-29T00:00");
}

TEST(Cron, NextAndLatestAgree) {
  for (const char* text : {"*/7 3-5 * * *", "0 0 31 * 1", "5 4 29 2 *", "0 12 1-7 jun mon"}) {
    const CronExpression cron = Cron(text);
    WallMinute wall = Wall("2025-01-01T00:00");
    for (int i = 0; i < 50; ++i) {
      const WallMinute next = NextMatch(cron, wall);
      EXPECT_GT(next, wall);
      EXPECT_EQ(LatestMatch(cron, next), next) << text;
      EXPECT_LE(LatestMatch(cron, next - std::chrono::minutes(1)), wall) << text;
      wall = next;
    }
  }
}

struct Refusal {
  const char* text;
  const char* message;
};

TEST(Cron, RefusalsNameFieldAndPosition) {
  constexpr Refusal kRefusals[] = {
      {"0 2 * * 8", "invalid day of week \"8\" at position 9"},
      {"60 2 * * 0", "invalid minute \"60\" at position 1"},
      {"0 24 * * *", "invalid hour \"24\" at position 3"},
      {"0 0 0 * *", "invalid day of month \"0\" at position 5"},
      {"0 0 32 * *", "invalid day of month \"32\" at position 5"},
      {"0 0 * 13 *", "invalid month \"13\" at position 7"},
      {"0 0 * * noday", "invalid day of week \"noday\" at position 9"},
      {"0 0 * * mo", "invalid day of week \"mo\" at position 9"},
      {"0  2 * *  8", "invalid day of week \"8\" at position 11"},
      {"0,15,x * * * *", "invalid minute \"x\" at position 6"},
      {"0,,5 * * * *", "missing minute at position 3"},
      {"0, * * * *", "missing minute at position 3"},
      {"-5 * * * *", "missing minute at position 1"},
      {"5- * * * *", "missing minute at position 3"},
      {"1-2-3 * * * *", "invalid minute \"2-3\" at position 3"},
      {"+5 * * * *", "invalid minute \"+5\" at position 1"},
      {"99999999999 * * * *", "invalid minute \"99999999999\" at position 1"},
      {"*5 * * * *", "invalid minute \"*5\" at position 1"},
      {"0 0 L * *", "invalid day of month \"L\" at position 5"},
      {"0 0 ? * 1", "invalid day of month \"?\" at position 5"},
      {"0 17-8 * * *", "range \"17-8\" of hour at position 3 goes backwards"},
      {"*/0 * * * *", "invalid step \"0\" of minute at position 3"},
      {"*/60 * * * *", "invalid step \"60\" of minute at position 3"},
      {"*/ * * * *", "invalid step \"\" of minute at position 3"},
      {"*/-1 * * * *", "invalid step \"-1\" of minute at position 3"},
      {"*/2/3 * * * *", "invalid step \"2/3\" of minute at position 3"},
      {"1-5/6 * * * *", "invalid step \"6\" of minute at position 5"},
      {"3/5 * * * *", "step \"3/5\" of minute at position 1 has no range"},
      {"0 0 30 2 *", "day of month \"30\" at position 5 never comes in the given months"},
      {"0 0 31 4,6,9,nov *", "day of month \"31\" at position 5 never comes in the given months"},
      {"0 2 * *", "missing day of week at position 8"},
      {"0 2 * * 0 2026", "unexpected \"2026\" at position 11, after the day of week"},
      {"", "missing minute at position 1"},
      {"   ", "missing minute at position 4"},
      {"@reboot", "unknown nickname \"@reboot\" at position 1"},
      {"@daily 5", "invalid minute \"@daily\" at position 1"},
  };
  for (const Refusal& refusal : kRefusals) {
    const auto cron = ParseCron(refusal.text);
    ASSERT_FALSE(cron.has_value()) << refusal.text;
    EXPECT_EQ(cron.error().code, ErrorCode::kInvalidArgument) << refusal.text;
    EXPECT_EQ(cron.error().message, refusal.message) << refusal.text;
    EXPECT_TRUE(cron.error().hint.ends_with('.')) << refusal.text;
  }
}

TEST(Cron, AHintForTheAmbiguousStep) {
  EXPECT_EQ(ParseCron("3/5 * * * *").error().hint, "Write the range out, for example \"3-59/5\".");
}

TEST(Cron, ADayOfWeekMakesUpForAnImpossibleDate) {
  EXPECT_EQ(Next("0 0 30 2 mon", "2026-02-01T00:00"), "2026-02-02T00:00");
}

struct Description {
  const char* cron;
  const char* words;
};

TEST(Cron, InWords) {
  constexpr Description kDescriptions[] = {
      {"0 2 * * 0", "at 02:00 on Sunday"},
      {"0 2 * * 1-6", "at 02:00 on Monday to Saturday"},
      {"0 2 * * *", "at 02:00 every day"},
      {"30 2,14 * * sat,sun", "at 02:30 and 14:30 on Saturday and Sunday"},
      {"0,30 6,18 * * mon-wed,fri",
       "at 06:00, 06:30, 18:00 and 18:30 on Monday to Wednesday and "
       "Friday"},
      {"*/15 * * * *", "every 15 minutes"},
      {"* * * * *", "every minute"},
      {"*/15 8-17 * * 1-5", "every 15 minutes from 08:00 to 17:59 on Monday to Friday"},
      {"0 * * * *", "every hour"},
      {"0 */6 * * *", "every 6 hours"},
      {"5 * * * *", "at minute 5 of every hour"},
      {"5,20-23 * * * *", "at minutes 5 and 20 to 23 of every hour"},
      {"5 */2 * * *",
       "at minute 5 in the hours from 00:00, 02:00, 04:00, 06:00, 08:00, 10:00, "
       "12:00, 14:00, 16:00, 18:00, 20:00 and 22:00 every day"},
      {"0 8-17 * * *", "at minute 0 from 08:00 to 17:59 every day"},
      {"@monthly", "at 00:00 on day 1 of the month"},
      {"0 0 1,15-17 * *", "at 00:00 on days 1 and 15 to 17 of the month"},
      {"0 0 13 * fri", "at 00:00 on day 13 of the month or on Friday"},
      {"0 0 */10 * mon", "at 00:00 on days 1, 11, 21 and 31 of the month, but only on Monday"},
      {"@yearly", "at 00:00 on day 1 of the month in January"},
      {"0 0 * jan-mar,jun *", "at 00:00 every day in January to March and June"},
      {"0 0 1-31 * 1", "at 00:00 every day"},
  };
  for (const Description& description : kDescriptions) {
    EXPECT_EQ(DescribeCron(Cron(description.cron)), description.words) << description.cron;
  }
}

}  // namespace
}  // namespace veza
