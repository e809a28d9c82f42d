#include "core/schedule/schedule.h"

namespace veza {
namespace {

// No time zone ever put its clocks back by more.
constexpr std::chrono::hours kLongestRepeat{25};

}  // namespace

Result<Schedule> Schedule::Parse(std::string_view text, const TimeZone& zone) {
  ASSIGN_OR_RETURN(const CronExpression cron, ParseCron(text));
  return Schedule(text, cron, zone);
}

// A later local time is never an earlier instant (time_zone.h). Each search therefore begins at a
// local time that is too early (or too late) and moves on until the instant fits. This usually
// takes one step; after the clocks were put back it goes through the repeated minutes.

TimePoint Schedule::NextAfter(TimePoint time) const {
  WallMinute wall = zone_.ToWall(time);
  for (;;) {
    wall = NextMatch(cron_, wall);
    if (const TimePoint run = zone_.ToInstant(wall); run > time) {
      return run;
    }
  }
}

TimePoint Schedule::LatestUpTo(TimePoint time) const {
  WallMinute wall = zone_.ToWall(time) + kLongestRepeat;
  for (;;) {
    wall = LatestMatch(cron_, wall);
    if (const TimePoint run = zone_.ToInstant(wall); run <= time) {
      return run;
    }
    wall -= std::chrono::minutes(1);
  }
}

}  // namespace veza
