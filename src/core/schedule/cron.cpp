#include "core/schedule/cron.h"

namespace veza {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::local_days;
using std::chrono::minutes;

constexpr bool Has(std::uint64_t field, std::int64_t value) {
  return ((field >> value) & 1U) != 0;
}

bool MatchesDay(const CronExpression& cron, local_days day) {
  const std::chrono::year_month_day date(day);
  if (!Has(cron.months, static_cast<unsigned>(date.month()))) {
    return false;
  }
  const bool of_month = Has(cron.days_of_month, static_cast<unsigned>(date.day()));
  const bool of_week = Has(cron.days_of_week, std::chrono::weekday(day).c_encoding());
  return cron.any_day_of_month || cron.any_day_of_week ? of_month && of_week : of_month || of_week;
}

bool MatchesMinute(const CronExpression& cron, minutes time) {
  return Has(cron.hours, time / hours(1)) && Has(cron.minutes, time % hours(1) / minutes(1));
}

}  // namespace

// Both searches end. ParseCron() refuses expressions without a match. The rarest match of the
// others, 29 February on a certain day of the week, comes at least every 40 years.

WallMinute NextMatch(const CronExpression& cron, WallMinute after) {
  const WallMinute start = after + minutes(1);
  local_days day = std::chrono::floor<days>(start);
  for (minutes first = start - day;; ++day, first = minutes(0)) {
    if (!MatchesDay(cron, day)) {
      continue;
    }
    for (minutes time = first; time < days(1); ++time) {
      if (MatchesMinute(cron, time)) {
        return day + time;
      }
    }
  }
}

WallMinute LatestMatch(const CronExpression& cron, WallMinute until) {
  local_days day = std::chrono::floor<days>(until);
  for (minutes last = until - day;; --day, last = days(1) - minutes(1)) {
    if (!MatchesDay(cron, day)) {
      continue;
    }
    for (minutes time = last; time >= minutes(0); --time) {
      if (MatchesMinute(cron, time)) {
        return day + time;
      }
    }
  }
}

}  // namespace veza
