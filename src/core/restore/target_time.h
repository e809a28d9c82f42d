// Recovery target times, as people write them.
#pragma once

#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

// Parses "2026-11-22 02:00:00.5+01": a date and a time with a blank or 'T' between them. Seconds
// and up to six digits of a fraction are optional, and so is the time itself (midnight). The zone
// is "Z", "UTC", "GMT", "+HH", "+HH:MM" or "+HHMM". Without a zone, it is that of this machine (TZ,
// /etc/localtime). A local time that the zone skips or has twice is refused, because nobody can
// know which one was meant.
Result<TimePoint> ParseTargetTime(std::string_view text);

// "2026-11-22 01:00:00.500000+00". With an explicit zone it means the same to every server.
std::string FormatTargetTime(TimePoint time);

}  // namespace veza
