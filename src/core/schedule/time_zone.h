// Converts between instants and local time, with the zone data of the system (tzdata) and Howard
// Hinnant's date library.
//
// The library reads the compiled zone files up to the year 2037. After that, a zone stays on its
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

// A value type. May be copied, and used in any thread.
class TimeZone {
 public:
  // Makes UTC, which needs no zone data.
  TimeZone() = default;

  // Finds a zone by its name in the IANA database, in upper or lower case. kInvalidArgument with a
  // hint when there is no such zone; kNotFound when this machine has no zone data.
  static Result<TimeZone> Find(std::string_view name);

  // The name as the database spells it.
  const std::string& name() const { return name_; }

  // Returns the local time, rounded down to a minute.
  WallMinute ToWall(TimePoint time) const;

  // Returns the instant of a local time. A local time that the zone skips gives the first instant
  // after the gap. A local time that comes twice gives the first of the two. A later local time is
  // therefore never an earlier instant.
  TimePoint ToInstant(WallMinute wall) const;

 private:
  std::string name_ = "UTC";
  const date::time_zone* zone_ = nullptr;  // owned by the database, which is never freed; null: UTC
};

}  // namespace veza
