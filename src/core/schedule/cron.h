// Cron expressions in local time, without a time zone. schedule.h adds the time zone.
//
// An expression has five fields separated by blanks, or is a nickname:
//
//   minute 0-59   hour 0-23   day of month 1-31   month 1-12   day of week 0-7 (0, 7: Sunday)
//
// A field is a list, separated by commas, of `*`, numbers, ranges `a-b`, and steps `*/n` or
// `a-b/n`. Months and days of the week also have English names, in full or with their first three
// letters, in upper or lower case. `3/5` is refused, because cron programs disagree about its
// meaning; `3-59/5` is unambiguous.
//
// When both day fields are restricted, a day that matches either of them is taken. As in Debian's
// cron, a field counts as restricted unless it begins with `*`: `0 0 */2 * mon` is every Monday
// with an odd date.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

// A minute of local time, without a time zone.
using WallMinute = std::chrono::local_time<std::chrono::minutes>;

// Bit n of a field stands for its value n. Only ParseCron() makes one, so every expression matches
// some time after, and some time before, any given time.
struct CronExpression {
  std::uint64_t minutes = 0;
  std::uint64_t hours = 0;
  std::uint64_t days_of_month = 0;
  std::uint64_t months = 0;
  std::uint64_t days_of_week = 0;  // 0 to 6, from Sunday
  bool any_day_of_month = false;   // the field begins with `*`
  bool any_day_of_week = false;
};

// Parses an expression. kInvalidArgument names the field and its position in the text (from 1),
// with a hint. Days that never come, such as 30 February, are refused. The nicknames are @yearly,
// @annually, @monthly, @weekly, @daily, @midnight, @hourly.
Result<CronExpression> ParseCron(std::string_view text);

// NextMatch() returns the first match after `after`. LatestMatch() returns the last match at or
// before `until`.
WallMinute NextMatch(const CronExpression& cron, WallMinute after);
WallMinute LatestMatch(const CronExpression& cron, WallMinute until);

// Describes the expression in words, for example "at 02:00 on Monday to Saturday" or "every 15
// minutes".
std::string DescribeCron(const CronExpression& cron);

}  // namespace veza
