#include <array>
#include <bit>
#include <optional>
#include <vector>

#include "core/schedule/cron.h"

namespace veza {
namespace {

constexpr std::array<const char*, 12> kMonths = {"January",   "February", "March",    "April",
                                                 "May",       "June",     "July",     "August",
                                                 "September", "October",  "November", "December"};
constexpr std::array<const char*, 7> kDays = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                              "Friday", "Saturday", "Sunday"};

// Up to this many times of day are listed. More are described by minutes and hours.
constexpr int kMaxTimes = 6;

std::vector<int> ValuesOf(std::uint64_t field) {
  std::vector<int> values;
  for (int value = 0; value < 64; ++value) {
    if (((field >> value) & 1U) != 0) {
      values.push_back(value);
    }
  }
  return values;
}

bool IsWhole(std::uint64_t field, int first, int last) {
  return std::popcount(field) == last - first + 1;
}

// Makes "a", "a and b" or "a, b and c".
std::string Join(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      text += i + 1 == items.size() ? " and " : ", ";
    }
    text += items[i];
  }
  return text;
}

// Three values or more in a row become "first to last".
template <typename Name>
std::string List(const std::vector<int>& values, Name name) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin < values.size();) {
    std::size_t end = begin + 1;
    while (end < values.size() && values[end] == values[end - 1] + 1) {
      ++end;
    }
    if (end - begin >= 3) {
      items.push_back(name(values[begin]) + " to " + name(values[end - 1]));
      begin = end;
    } else {
      items.push_back(name(values[begin++]));
    }
  }
  return Join(items);
}

std::string Numbers(const std::vector<int>& values) {
  return List(values, [](int value) { return std::to_string(value); });
}

// Returns the step when the values are 0, step, 2 * step, ... and `step` divides `size`. Otherwise
// nothing.
std::optional<int> StepAround(const std::vector<int>& values, int size) {
  const int step = size / static_cast<int>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<int>(i) * step) {
      return std::nullopt;
    }
  }
  return static_cast<int>(values.size()) * step == size ? std::optional(step) : std::nullopt;
}

std::string Every(int step, const char* unit) {
  return step == 1 ? fmt::format("every {}", unit) : fmt::format("every {} {}s", step, unit);
}

std::string DescribeHours(const std::vector<int>& hours) {
  const bool in_a_row = hours.back() - hours.front() + 1 == static_cast<int>(hours.size());
  return in_a_row
             ? fmt::format("from {:02}:00 to {:02}:59", hours.front(), hours.back())
             : fmt::format("in the hours from {}",
                           List(hours, [](int hour) { return fmt::format("{:02}:00", hour); }));
}

std::string DescribeTime(const CronExpression& cron) {
  const std::vector<int> minutes = ValuesOf(cron.minutes);
  const std::vector<int> hours = ValuesOf(cron.hours);
  const auto minute_step = StepAround(minutes, 60);
  const auto hour_step = StepAround(hours, 24);
  const bool on_the_hour = minutes == std::vector<int>{0};

  if (hour_step && *hour_step <= 12 && on_the_hour) {
    return Every(*hour_step, "hour");
  }
  if (minutes.size() * hours.size() <= kMaxTimes) {
    std::vector<std::string> times;
    for (const int hour : hours) {
      for (const int minute : minutes) {
        times.push_back(fmt::format("{:02}:{:02}", hour, minute));
      }
    }
    return "at " + Join(times);
  }
  std::string text =
      minute_step && !on_the_hour
          ? Every(*minute_step, "minute")
          : fmt::format("at minute{} {}", minutes.size() == 1 ? "" : "s", Numbers(minutes));
  const bool told_as_step = minute_step && !on_the_hour;
  if (hour_step == 1) {
    return told_as_step ? text : text + " of every hour";
  }
  return text + " " + DescribeHours(hours);
}

// The week begins with Monday here, so that Saturday and Sunday are adjacent.
std::string DescribeDaysOfWeek(std::uint64_t field) {
  std::vector<int> days;
  for (int day = 0; day < 7; ++day) {
    if (((field >> ((day + 1) % 7)) & 1U) != 0) {
      days.push_back(day);
    }
  }
  return List(days, [](int day) { return std::string(kDays[static_cast<std::size_t>(day)]); });
}

std::string DescribeDaysOfMonth(std::uint64_t field) {
  const std::vector<int> days = ValuesOf(field);
  return fmt::format("day{} {} of the month", days.size() == 1 ? "" : "s", Numbers(days));
}

std::string DescribeDays(const CronExpression& cron) {
  const bool every_date = IsWhole(cron.days_of_month, 1, 31);
  const bool every_weekday = IsWhole(cron.days_of_week, 0, 6);
  const bool either = !cron.any_day_of_month && !cron.any_day_of_week;
  if ((every_date && every_weekday) || (either && (every_date || every_weekday))) {
    return "";
  }
  if (every_date) {
    return " on " + DescribeDaysOfWeek(cron.days_of_week);
  }
  std::string dates = " on " + DescribeDaysOfMonth(cron.days_of_month);
  if (every_weekday) {
    return dates;
  }
  return dates + (either ? " or on " : ", but only on ") + DescribeDaysOfWeek(cron.days_of_week);
}

}  // namespace

std::string DescribeCron(const CronExpression& cron) {
  std::string text = DescribeTime(cron);
  const std::string days = DescribeDays(cron);
  // "at 02:00" needs the words "every day"; "every 15 minutes" does not.
  text += days.empty() && !text.starts_with("every") && !text.ends_with("every hour") ? " every day"
                                                                                      : days;
  if (!IsWhole(cron.months, 1, 12)) {
    text += " in " + List(ValuesOf(cron.months), [](int month) {
              return std::string(kMonths[static_cast<std::size_t>(month - 1)]);
            });
  }
  return text;
}

}  // namespace veza
