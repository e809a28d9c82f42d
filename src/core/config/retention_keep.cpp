#include "core/config/retention_keep.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/ascii.h"

namespace veza {

namespace {

constexpr std::string_view kBlanks = " \t\n\v\f\r";
constexpr const char* kHint =
    "Give numbers and periods (daily, weekly, monthly, yearly), for example \"7 daily, 5 weekly, "
    "12 monthly\".";

struct PeriodName {
  KeepPeriod period;
  std::string_view name;
};
constexpr std::array<PeriodName, 4> kPeriods = {{{KeepPeriod::kDay, "daily"},
                                                 {KeepPeriod::kWeek, "weekly"},
                                                 {KeepPeriod::kMonth, "monthly"},
                                                 {KeepPeriod::kYear, "yearly"}}};

Error Refuse(std::string reason) {
  return Error(ErrorCode::kInvalidArgument, std::move(reason)).WithHint(kHint);
}

Result<KeepRule> ParseRule(std::string_view text) {
  KeepRule rule;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, rule.count);
  if (number.ec == std::errc::invalid_argument) {
    return Refuse(fmt::format("\"{}\" does not begin with a number", text));
  }
  if (number.ec != std::errc() || rule.count < 1 || rule.count > kMaxRetention) {
    return Refuse(fmt::format("the number in \"{}\" is outside the valid range (1 .. {})", text,
                              kMaxRetention));
  }
  const std::string_view word =
      Trim(std::string_view(number.ptr, static_cast<std::size_t>(end - number.ptr)), kBlanks);
  const auto* const found = std::ranges::find_if(
      kPeriods, [&](const PeriodName& period) { return EqualsIgnoringCase(period.name, word); });
  if (found == kPeriods.end()) {
    return Refuse(fmt::format("\"{}\" does not name a period", text));
  }
  rule.period = found->period;
  return rule;
}

}  // namespace

Result<std::vector<KeepRule>> ParseRetentionKeep(std::string_view text) {
  std::vector<KeepRule> rules;
  std::string_view rest = Trim(text, kBlanks);
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    ASSIGN_OR_RETURN(const KeepRule rule, ParseRule(Trim(rest.substr(0, comma), kBlanks)));
    if (std::ranges::find(rules, rule.period, &KeepRule::period) != rules.end()) {
      return Refuse(fmt::format("\"{}\" names a period for the second time", ToText(rule)));
    }
    rules.push_back(rule);
    if (comma + 1 == rest.size()) {
      return Refuse("nothing stands behind the last comma");
    }
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return rules;
}

std::string ToText(const KeepRule& rule) {
  return fmt::format("{} {}", rule.count,
                     std::ranges::find(kPeriods, rule.period, &PeriodName::period)->name);
}

std::string ToText(const std::vector<KeepRule>& rules) {
  std::string text;
  for (const KeepRule& rule : rules) {
    text += (text.empty() ? "" : ", ") + ToText(rule);
  }
  return text;
}

std::string NamePeriod(KeepPeriod period, TimePoint time) {
  using std::chrono::floor;
  std::chrono::sys_days day = floor<std::chrono::days>(time);
  if (period == KeepPeriod::kWeek) {
    day -= std::chrono::weekday(day) - std::chrono::Monday;
  }
  const std::chrono::year_month_day date(day);
  std::string year = fmt::format("{:04}", static_cast<int>(date.year()));
  if (period == KeepPeriod::kYear) {
    return year;
  }
  std::string month = fmt::format("{}-{:02}", year, static_cast<unsigned>(date.month()));
  if (period == KeepPeriod::kMonth) {
    return month;
  }
  return fmt::format("{}{}-{:02}", period == KeepPeriod::kWeek ? "week of " : "", month,
                     static_cast<unsigned>(date.day()));
}

void AddRules(std::vector<KeepRule>& rules, const std::vector<KeepRule>& others) {
  for (const KeepRule& other : others) {
    const auto rule = std::ranges::find(rules, other.period, &KeepRule::period);
    if (rule == rules.end()) {
      rules.push_back(other);
    } else {
      rule->count = std::max(rule->count, other.count);
    }
  }
}

}  // namespace veza
