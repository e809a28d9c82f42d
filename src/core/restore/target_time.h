// A recovery target time as people write it.
#pragma once

#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

// "2026-11-22 02:00:00.5+01": date and time with a blank or 'T' between them, seconds and up to six
// digits of a fraction optional, the time itself too (midnight). The zone is "Z", "UTC", "GMT",
// "+HH", "+HH:MM" or "+HHMM"; without one it is the zone of this machine (TZ, /etc/localtime). A
// local time that the zone skips or has twice is refused, since nobody can know which was meant.
Result<TimePoint> ParseTargetTime(std::string_view text);

// "2026-11-22 01:00:00.500000+00": with an explicit zone it means the same to every server.
std::string FormatTargetTime(TimePoint time);

}  // namespace veza
