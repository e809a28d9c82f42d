// When a kind of backup is due: a cron expression in a time zone, as instants.
//
// Across daylight saving (time_zone.h has the rule): what falls into the hour that is skipped runs
// once, at the first instant after it; what falls into the hour that comes twice runs once, in the
// first. A schedule of every few minutes therefore rests for the second of the two.
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
  // The errors of ParseCron().
  static Result<Schedule> Parse(std::string_view text, const TimeZone& zone);

  // The first run after, and the latest run at or before an instant.
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
  std::optional<Schedule> full;  // nothing: never
  std::optional<Schedule> diff;
  TimeZone zone;
  std::chrono::seconds jitter{300};
  BackupFrom backup_from = BackupFrom::kPrimary;
};

}  // namespace veza
