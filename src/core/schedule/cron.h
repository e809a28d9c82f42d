// Cron expressions on the clock on the wall; time zones are schedule.h's business.
//
// Five fields between blanks, or a nickname:
//
//   minute 0-59   hour 0-23   day of month 1-31   month 1-12   day of week 0-7 (0, 7: Sunday)
//
// A field is a list, separated by commas, of `*`, numbers, ranges `a-b`, and steps `*/n` or
// `a-b/n`. Months and days of the week have English names as well, whole or their first three
// letters, in any case. `3/5` is refused: crons disagree about what it means, and `3-59/5` says it.
//
// When both day fields are restricted, a day that fits either is taken. As in Debian's cron, a
// field is restricted unless it begins with `*`: `0 0 */2 * mon` is every Monday with an odd date.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

// A minute on the clock on the wall, without a zone.
using WallMinute = std::chrono::local_time<std::chrono::minutes>;

// Bit n of a field stands for its value n. Made by ParseCron(), so every expression has a match in
// the future and in the past of any moment.
struct CronExpression {
  std::uint64_t minutes = 0;
  std::uint64_t hours = 0;
  std::uint64_t days_of_month = 0;
  std::uint64_t months = 0;
  std::uint64_t days_of_week = 0;  // 0 to 6, from Sunday
  bool any_day_of_month = false;   // the field begins with `*`
  bool any_day_of_week = false;
};

// kInvalidArgument names the field and its position in the text (from 1), with a hint. Days that
// never come, such as 30 February, are refused too. Nicknames: @yearly, @annually, @monthly,
// @weekly, @daily, @midnight, @hourly.
Result<CronExpression> ParseCron(std::string_view text);

// The first match after, and the newest at or before a moment.
WallMinute NextMatch(const CronExpression& cron, WallMinute after);
WallMinute LatestMatch(const CronExpression& cron, WallMinute until);

// In words, for example "at 02:00 on Monday to Saturday" or "every 15 minutes".
std::string DescribeCron(const CronExpression& cron);

}  // namespace veza
