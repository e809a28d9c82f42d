// A schedule: a cron expression in a time zone. Tells the times at which a backup is due.
//
// Daylight saving time (the rule is in time_zone.h): a run in the hour that is skipped takes place
// once, at the first instant after the gap. A run in the hour that comes twice takes place once, in
// the first of the two. A schedule of every few minutes therefore pauses during the second.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"
#include "core/schedule/cron.h"
#include "core/schedule/time_zone.h"

namespace veza {

class Schedule {
 public:
  // Parses the expression. The errors are those of ParseCron().
  static Result<Schedule> Parse(std::string_view text, const TimeZone& zone);

  // NextAfter() returns the first run after `time`. LatestUpTo() returns the last run at or before
  // it.
  TimePoint NextAfter(TimePoint time) const;
  TimePoint LatestUpTo(TimePoint time) const;

  const std::string& text() const { return text_; }
  std::string Describe() const { return DescribeCron(cron_); }

 private:
  Schedule(std::string_view text, const CronExpression& cron, TimeZone zone)
      : text_(text), cron_(cron), zone_(std::move(zone)) {}

  std::string text_;
  CronExpression cron_;
  TimeZone zone_;
};

// Which server of a formation takes the scheduled backups.
enum class BackupFrom { kPrimary, kStandby, kPreferStandby };

struct ScheduleSettings {
  std::optional<Schedule> full;  // not set: never
  std::optional<Schedule> diff;
  std::optional<Schedule> incr;
  TimeZone zone;
  std::chrono::seconds jitter{300};
  BackupFrom backup_from = BackupFrom::kPrimary;
};

}  // namespace veza
