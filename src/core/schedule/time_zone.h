// Time zones: between instants and the clock on the wall, by the zone data of the system (tzdata)
// and Howard Hinnant's date library.
//
// That library reads the compiled zone files up to the year 2037, after which a zone stays on its
// standard time.
#pragma once

#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"
#include "core/schedule/cron.h"

namespace date {
class time_zone;
}

namespace veza {

// A value that may be copied and used in any thread.
class TimeZone {
 public:
  // UTC, which needs no zone data.
  TimeZone() = default;

  // By its name in the IANA database, in any case. kInvalidArgument with a hint when there is no
  // such zone, kNotFound when this machine has no zone data at all.
  static Result<TimeZone> Find(std::string_view name);

  // As the database spells it.
  const std::string& name() const { return name_; }

  // What the clock on the wall shows, its seconds cut off.
  WallMinute ToWall(TimePoint time) const;

  // When the clock on the wall shows `wall`. A time that the zone skips is the first instant after
  // the gap; of one that it has twice, the first counts. So a later wall time is never an earlier
  // instant.
  TimePoint ToInstant(WallMinute wall) const;

 private:
  std::string name_ = "UTC";
  const date::time_zone* zone_ = nullptr;  // of the database, which is never freed; null: UTC
};

}  // namespace veza
