#include "core/restore/target_time.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <vector>

namespace veza {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// A time of day and date without a zone.
using WallTime = std::chrono::local_time<microseconds>;

// Parses the text from left to right. A function that does not match consumes nothing.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool Take(std::string_view word) {
    if (!rest_.starts_with(word)) {
      return false;
    }
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<int> TakeDigits(std::size_t count) {
    if (CountDigits() < count) {
      return std::nullopt;
    }
    int number = 0;
    for (const char digit : rest_.substr(0, count)) {
      number = number * 10 + (digit - '0');
    }
    rest_.remove_prefix(count);
    return number;
  }
  std::size_t CountDigits() const {
    return std::min(rest_.find_first_not_of("0123456789"), rest_.size());
  }
  void SkipBlanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

std::optional<WallTime> ReadDate(Reader& reader) {
  const auto year = reader.TakeDigits(4);
  if (!year || !reader.Take("-")) {
    return std::nullopt;
  }
  const auto month = reader.TakeDigits(2);
  if (!month || !reader.Take("-")) {
    return std::nullopt;
  }
  const auto day = reader.TakeDigits(2);
  if (!day) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok() || *year == 0) {
    return std::nullopt;
  }
  return std::chrono::local_days(date);
}

std::optional<microseconds> ReadTimeOfDay(Reader& reader) {
  const auto hour = reader.TakeDigits(2);
  if (!hour || *hour > 23 || !reader.Take(":")) {
    return std::nullopt;
  }
  const auto minute = reader.TakeDigits(2);
  if (!minute || *minute > 59) {
    return std::nullopt;
  }
  microseconds time = hours(*hour) + minutes(*minute);
  if (!reader.Take(":")) {
    return time;
  }
  const auto second = reader.TakeDigits(2);
  if (!second || *second > 59) {
    return std::nullopt;
  }
  time += seconds(*second);
  if (reader.Take(".")) {
    const std::size_t digits = reader.CountDigits();
    if (digits == 0 || digits > 6) {
      return std::nullopt;
    }
    int fraction = *reader.TakeDigits(digits);
    for (std::size_t i = digits; i < 6; ++i) {
      fraction *= 10;
    }
    time += microseconds(fraction);
  }
  return time;
}

// The zone's offset east of UTC. nullopt when the text is not a zone.
std::optional<seconds> ReadZone(Reader& reader) {
  if (reader.Take("Z") || reader.Take("z") || reader.Take("UTC") || reader.Take("GMT")) {
    return seconds(0);
  }
  const bool west = reader.Take("-");
  if (!west && !reader.Take("+")) {
    return std::nullopt;
  }
  const auto hour = reader.TakeDigits(2);
  if (!hour || *hour > 15) {
    return std::nullopt;
  }
  seconds offset = hours(*hour);
  if (reader.Take(":") || reader.CountDigits() > 0) {
    const auto minute = reader.TakeDigits(2);
    if (!minute || *minute > 59) {
      return std::nullopt;
    }
    offset += minutes(*minute);
  }
  return west ? -offset : offset;
}

seconds LocalOffset(TimePoint time) {
  const std::time_t since_epoch = std::chrono::floor<seconds>(time).time_since_epoch().count();
  std::tm parts{};
  localtime_r(&since_epoch, &parts);
  return seconds(parts.tm_gmtoff);
}

// The offset changes at most once within a day or two. So each offset in use around that time is
// tried, and accepted if it is in use at the moment that results.
Result<TimePoint> FromLocal(WallTime wall, std::string_view text) {
  tzset();
  const TimePoint as_utc(wall.time_since_epoch());
  std::vector<TimePoint> moments;
  for (const TimePoint around : {as_utc - days(1), as_utc + days(1)}) {
    const seconds offset = LocalOffset(around);
    const TimePoint moment = as_utc - offset;
    if (LocalOffset(moment) == offset && std::ranges::find(moments, moment) == moments.end()) {
      moments.push_back(moment);
    }
  }
  if (moments.size() == 1) {
    return moments.front();
  }
  return MakeError(ErrorCode::kInvalidArgument, "time \"{}\" {} in the time zone of this machine",
                   text, moments.empty() ? "does not exist" : "exists twice")
      .WithHint("Add the offset from UTC, as in \"2026-10-25 02:30:00+01\".");
}

}  // namespace

Result<TimePoint> ParseTargetTime(std::string_view text) {
  const auto invalid = [&]() -> Result<TimePoint> {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a date and time", text)
        .WithHint("Write it as \"2026-11-22 02:00:00+00\", or without the zone for local time.");
  };
  Reader reader(text);
  const auto date = ReadDate(reader);
  if (!date) {
    return invalid();
  }
  WallTime wall = *date;
  if (!reader.done()) {
    if (!reader.Take(" ") && !reader.Take("T")) {
      return invalid();
    }
    const auto time_of_day = ReadTimeOfDay(reader);
    if (!time_of_day) {
      return invalid();
    }
    wall += *time_of_day;
    reader.SkipBlanks();
  }
  if (reader.done()) {
    return FromLocal(wall, text);
  }
  const auto offset = ReadZone(reader);
  if (!offset || !reader.done()) {
    return invalid();
  }
  return TimePoint(wall.time_since_epoch()) - *offset;
}

std::string FormatTargetTime(TimePoint time) {
  const auto day = std::chrono::floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss<microseconds> clock(time - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

}  // namespace veza
