#include "core/schedule/schedule.h"

namespace veza {
namespace {

// More than any zone ever put its clocks back.
constexpr std::chrono::hours kLongestRepeat{25};

}  // namespace

Result<Schedule> Schedule::Parse(std::string_view text, const TimeZone& zone) {
  ASSIGN_OR_RETURN(const CronExpression cron, ParseCron(text));
  return Schedule(text, cron, zone);
}

// Instants never go back as the wall time goes on (time_zone.h), so both searches begin where the
// wall shows too little, or too much, and go on until the instant fits. In the usual case that is
// at once, after the clocks were put back it takes the repeated minutes.

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
