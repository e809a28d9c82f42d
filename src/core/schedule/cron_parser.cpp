#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <vector>

#include "core/schedule/cron.h"

namespace veza {
namespace {

constexpr std::array<std::string_view, 12> kMonthNames = {
    "january", "february", "march",     "april",   "may",      "june",
    "july",    "august",   "september", "october", "november", "december"};
constexpr std::array<std::string_view, 7> kDayNames = {"sunday",   "monday", "tuesday", "wednesday",
                                                       "thursday", "friday", "saturday"};

struct FieldSpec {
  const char* name;
  int first;                                // what `*` begins with
  int last;                                 // what `*` ends with
  std::span<const std::string_view> names;  // of first, first + 1, ...
  const char* hint;
};

constexpr std::array<FieldSpec, 5> kFields = {{
    {"minute", 0, 59, {}, "A minute is a number from 0 to 59."},
    {"hour", 0, 23, {}, "An hour is a number from 0 to 23."},
    {"day of month", 1, 31, {}, "A day of month is a number from 1 to 31."},
    {"month", 1, 12, kMonthNames, "A month is a number from 1 to 12 or a name such as \"jan\"."},
    {"day of week", 0, 6, kDayNames,
     "A day of week is a number from 0 (Sunday) to 6 or a name such as \"mon\"; 7 is Sunday too."},
}};
constexpr std::size_t kDayOfMonth = 2;
constexpr std::size_t kDayOfWeek = 4;
constexpr int kSundayToo = 7;

constexpr const char* kFormHint =
    "Give minute, hour, day of month, month and day of week, for example \"0 2 * * 0\".";

struct Nickname {
  std::string_view name;
  std::string_view expression;
};
constexpr Nickname kNicknames[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

// A piece of the text and its position, counted from 1.
struct Token {
  std::string_view text;
  std::size_t position;

  Token Part(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), position + begin};
  }
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') {
      c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return lower;
}

std::vector<Token> Split(const Token& token, std::string_view separators, bool keep_empty) {
  std::vector<Token> parts;
  std::size_t begin = 0;
  while (begin <= token.text.size()) {
    const std::size_t end =
        std::min(token.text.find_first_of(separators, begin), token.text.size());
    if (keep_empty || end > begin) {
      parts.push_back(token.Part(begin, end));
    }
    begin = end + 1;
  }
  return parts;
}

std::optional<int> ReadNumber(std::string_view text) {
  int number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, number);
  if (text.starts_with('-') || problem != std::errc() || stop != end) {
    return std::nullopt;
  }
  return number;
}

class FieldParser {
 public:
  explicit FieldParser(const FieldSpec& spec) : spec_(spec) {}

  Result<std::uint64_t> Parse(const Token& field) const {
    std::uint64_t bits = 0;
    for (const Token& item : Split(field, ",", true)) {
      ASSIGN_OR_RETURN(const std::uint64_t more, ParseItem(item));
      bits |= more;
    }
    return bits;
  }

 private:
  struct Range {
    int first;
    int last;
  };

  bool IsDayOfWeek() const { return &spec_ == &kFields[kDayOfWeek]; }

  Error Invalid(const Token& token) const {
    return (token.text.empty()
                ? MakeError(ErrorCode::kInvalidArgument, "missing {} at position {}", spec_.name,
                            token.position)
                : MakeError(ErrorCode::kInvalidArgument, "invalid {} \"{}\" at position {}",
                            spec_.name, token.text, token.position))
        .WithHint(spec_.hint);
  }

  Result<std::uint64_t> ParseItem(const Token& item) const {
    const std::size_t slash = std::min(item.text.find('/'), item.text.size());
    ASSIGN_OR_RETURN(const Range range, ParseRange(item.Part(0, slash)));
    int step = 1;
    if (slash < item.text.size()) {
      ASSIGN_OR_RETURN(step, ParseStep(item, slash, range));
    }
    std::uint64_t bits = 0;
    for (int value = range.first; value <= range.last; value += step) {
      bits |= std::uint64_t{1} << (IsDayOfWeek() ? value % kSundayToo : value);
    }
    return bits;
  }

  Result<Range> ParseRange(const Token& token) const {
    if (token.text == "*") {
      return Range{spec_.first, spec_.last};
    }
    const std::size_t dash = std::min(token.text.find('-'), token.text.size());
    ASSIGN_OR_RETURN(const int first, ParseValue(token.Part(0, dash)));
    if (dash == token.text.size()) {
      return Range{first, first};
    }
    ASSIGN_OR_RETURN(int last, ParseValue(token.Part(dash + 1, token.text.size())));
    if (IsDayOfWeek() && last == 0) {
      last = kSundayToo;  // "fri-sun"
    }
    if (first > last) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "range \"{}\" of {} at position {} goes backwards", token.text, spec_.name,
                       token.position)
          .WithHint("Write the smaller value first, or two ranges with a comma between them.");
    }
    return Range{first, last};
  }

  Result<int> ParseValue(const Token& token) const {
    const std::string word = Lower(token.text);
    for (std::size_t i = 0; i < spec_.names.size(); ++i) {
      if (word == spec_.names[i] || word == spec_.names[i].substr(0, 3)) {
        return spec_.first + static_cast<int>(i);
      }
    }
    const auto number = ReadNumber(token.text);
    if (!number || *number < spec_.first || *number > (IsDayOfWeek() ? kSundayToo : spec_.last)) {
      return Invalid(token);
    }
    return *number;
  }

  Result<int> ParseStep(const Token& item, std::size_t slash, const Range& range) const {
    const Token token = item.Part(slash + 1, item.text.size());
    if (range.first == range.last) {
      return MakeError(ErrorCode::kInvalidArgument, "step \"{}\" of {} at position {} has no range",
                       item.text, spec_.name, item.position)
          .WithHint(fmt::format("Write the range out, for example \"{}-{}/{}\".", range.first,
                                spec_.last, token.text));
    }
    const auto step = ReadNumber(token.text);
    if (!step || *step < 1 || *step > range.last - range.first) {
      return MakeError(ErrorCode::kInvalidArgument, "invalid step \"{}\" of {} at position {}",
                       token.text, spec_.name, token.position)
          .WithHint(fmt::format("A step is a number from 1 to {} here.", range.last - range.first));
    }
    return *step;
  }

  const FieldSpec& spec_;
};

Result<CronExpression> ParseNickname(std::string_view nickname, std::size_t position) {
  for (const Nickname& known : kNicknames) {
    if (known.name == Lower(nickname)) {
      return ParseCron(known.expression);
    }
  }
  return MakeError(ErrorCode::kInvalidArgument, "unknown nickname \"{}\" at position {}", nickname,
                   position)
      .WithHint("The nicknames are @yearly, @monthly, @weekly, @daily and @hourly.");
}

// Refuses a date that no year has. When a match of either day field is enough, the day of the week
// always matches some day.
Status RequireThatItComes(const CronExpression& cron, const Token& day_of_month) {
  if (!cron.any_day_of_month && !cron.any_day_of_week) {
    return Ok();
  }
  for (unsigned month = 1; month <= 12; ++month) {
    constexpr std::chrono::year kLeapYear{2024};
    const auto last = std::chrono::year_month_day_last(
        kLeapYear, std::chrono::month_day_last(std::chrono::month(month)));
    for (unsigned day = 1; day <= static_cast<unsigned>(last.day()); ++day) {
      if (((cron.months >> month) & (cron.days_of_month >> day) & 1U) != 0) {
        return Ok();
      }
    }
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "day of month \"{}\" at position {} never comes in the given months",
                   day_of_month.text, day_of_month.position)
      .WithHint("February has 29 days at most; April, June, September and November have 30.");
}

}  // namespace

Result<CronExpression> ParseCron(std::string_view text) {
  const std::vector<Token> fields = Split({text, 1}, " \t", false);
  if (fields.size() == 1 && fields.front().text.starts_with('@')) {
    return ParseNickname(fields.front().text, fields.front().position);
  }
  CronExpression cron;
  std::uint64_t* const parts[] = {&cron.minutes, &cron.hours, &cron.days_of_month, &cron.months,
                                  &cron.days_of_week};
  for (std::size_t i = 0; i < fields.size() && i < kFields.size(); ++i) {
    ASSIGN_OR_RETURN(*parts[i], FieldParser(kFields[i]).Parse(fields[i]));
  }
  if (fields.size() < kFields.size()) {
    return MakeError(ErrorCode::kInvalidArgument, "missing {} at position {}",
                     kFields[fields.size()].name, text.size() + 1)
        .WithHint(kFormHint);
  }
  if (fields.size() > kFields.size()) {
    const Token& extra = fields[kFields.size()];
    return MakeError(ErrorCode::kInvalidArgument, "unexpected \"{}\" at position {}, after the {}",
                     extra.text, extra.position, kFields.back().name)
        .WithHint(kFormHint);
  }
  cron.any_day_of_month = fields[kDayOfMonth].text.starts_with('*');
  cron.any_day_of_week = fields[kDayOfWeek].text.starts_with('*');
  RETURN_IF_ERROR(RequireThatItComes(cron, fields[kDayOfMonth]));
  return cron;
}

}  // namespace veza
