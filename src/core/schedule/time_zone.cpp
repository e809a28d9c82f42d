#include "core/schedule/time_zone.h"

// Debian builds the library with this macro, which changes its ABI.
#define USE_OS_TZDB 1
#include <date/tz.h>

#include "core/ascii.h"

namespace veza {
namespace {

constexpr std::chrono::minutes kNoOffset{0};

}  // namespace

Result<TimeZone> TimeZone::Find(std::string_view name) {
  TimeZone found;
  if (EqualsIgnoringCase(name, found.name_)) {
    return found;
  }
  // The library throws when it finds no data or a damaged file.
  try {
    for (const date::time_zone& zone : date::get_tzdb().zones) {
      if (EqualsIgnoringCase(zone.name(), name)) {
        zone.get_info(date::sys_seconds{});  // reads the file, as at every first use
        found.name_ = zone.name();
        found.zone_ = &zone;
        return found;
      }
    }
  } catch (const std::exception& exception) {
    return MakeError(ErrorCode::kNotFound, "could not read the time zone data of this machine: {}",
                     exception.what())
        .WithHint("Install the package tzdata, or use the time zone \"UTC\".");
  }
  return MakeError(ErrorCode::kInvalidArgument, "there is no time zone \"{}\"", name)
      .WithHint("Give a name from pg_timezone_names, such as \"Europe/Berlin\" or \"UTC\".");
}

WallMinute TimeZone::ToWall(TimePoint time) const {
  const std::chrono::seconds offset =
      zone_ == nullptr ? kNoOffset
                       : zone_->get_info(std::chrono::floor<std::chrono::seconds>(time)).offset;
  return WallMinute(std::chrono::floor<std::chrono::minutes>(time.time_since_epoch() + offset));
}

TimePoint TimeZone::ToInstant(WallMinute wall) const {
  const std::chrono::minutes shown = wall.time_since_epoch();
  if (zone_ == nullptr) {
    return TimePoint(shown);
  }
  const date::local_info info = zone_->get_info(date::local_seconds(shown));
  if (info.result == date::local_info::nonexistent) {
    return info.second.begin;
  }
  return TimePoint(shown - info.first.offset);
}

}  // namespace veza
