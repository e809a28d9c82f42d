#include "core/backup/set_secret.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "core/config/placeholder.h"
#include "core/config/settings.h"

namespace veza {

namespace {

// The backslash is one of them: JSON inside JSON escapes its quotes with it, and shells continue
// lines with it.
constexpr std::string_view kBlanks = " \t\r\f\v\\";
constexpr std::string_view kBlanksAndLines = " \t\r\f\v\\\n";
constexpr std::string_view kQuotes = "\"'`";
// What may stand between the beginning of a line and the name of a setting.
constexpr std::string_view kBeforeName = " \t\r\f\v\\\"'`#-;/*{[,";
// What may follow a value and close what the value is in.
constexpr std::string_view kClosing = " \t\r\f\v\\\"'`,)]}";
constexpr std::string_view kEndsWord = " \t\r\f\v\\\n#;\"'`,)]}";

// A shorter word in a comment is more likely language than a secret.
constexpr std::size_t kShortestInComment = 8;
// The beginning of a line is looked for so far back. JSON may be one long line.
constexpr std::size_t kLongestLook = 4U << 10;

constexpr std::string_view kFirstPart = kSettingPrefix.substr(0, kSettingPrefix.size() - 1);

std::string_view Behind(std::string_view text, std::size_t at) {
  return text.substr(std::min(at, text.size()));
}

std::string_view Skip(std::string_view text, std::string_view characters) {
  return Behind(text, text.find_first_not_of(characters));
}

bool IsOneOf(char c, std::string_view characters) {
  return characters.find(c) != std::string_view::npos;
}

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char wanted, char c) {
           return wanted == std::tolower(static_cast<unsigned char>(c));
         });
}

// --- What stands before the name -----------------------------------------------------------------

// The part of the line before the name, as far as it is looked at.
std::string_view LineBefore(std::string_view text, std::size_t at) {
  const std::size_t from = at > kLongestLook ? at - kLongestLook : 0;
  const std::string_view before = text.substr(from, at - from);
  return before.substr(before.rfind('\n') + 1);  // npos + 1 is 0
}

// A comment begins with "#" in configuration and YAML, with "-- " in SQL, and with ";" in ini
// files. "--veza_backup.…" is an option of a command.
bool IsInComment(std::string_view before) {
  if (Skip(before, kBlanks).starts_with(';')) {
    return true;
  }
  char quote = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const char c = before[i];
    if (quote != 0) {
      quote = c == quote ? '\0' : quote;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '#' || (before.substr(i).starts_with("--") && i + 2 < before.size() &&
                            IsOneOf(before[i + 2], kBlanks))) {
      return true;
    }
  }
  return false;
}

// --- What stands behind it -----------------------------------------------------------------------

enum class Sign { kNone, kColon, kEquals, kTo };

struct Value {
  std::string_view text;
  Sign sign = Sign::kNone;
  bool is_attached = false;  // name=value
  bool is_quoted = false;
  bool is_on_next_line = false;
  bool is_alone = false;        // nothing but a comment follows
  bool ends_statement = false;  // ";" follows
};

// A text such as "$$text$$" or "$tag$text$tag$". Empty when it is not one.
std::string_view DollarQuoted(std::string_view text) {
  std::size_t end = 1;
  while (end < text.size() && IsWordCharacter(text[end])) {
    ++end;
  }
  if (!text.starts_with('$') || end >= text.size() || text[end] != '$') {
    return {};
  }
  const std::string_view tag = text.substr(0, end + 1);
  const std::string_view inner = text.substr(tag.size());
  return inner.substr(0, std::min(inner.find(tag), inner.find('\n')));
}

// The content of the quotes that `text` begins with, not decoded. The end of what was read may cut
// it off.
std::string_view Quoted(std::string_view text) {
  const char quote = text.front();
  std::size_t at = 1;
  while (at < text.size() && text[at] != '\n') {
    const bool is_doubled = text[at] == quote && text.substr(at + 1).starts_with(quote);
    if (text[at] == quote && !is_doubled) {
      break;
    }
    at += text[at] == '\\' || is_doubled ? 2 : 1;
  }
  return text.substr(1, std::min(at, text.size()) - 1);
}

// The strings E'…', U&'…' and N'…' of SQL.
std::string_view WithoutStringPrefix(std::string_view text) {
  for (const std::string_view prefix : {"e'", "n'", "u&'"}) {
    if (StartsWithIgnoringCase(text, prefix)) {
      return text.substr(prefix.size() - 1);
    }
  }
  return text;
}

Value ReadValue(std::string_view text) {
  Value value;
  text = WithoutStringPrefix(text);
  if (!text.empty() && IsOneOf(text.front(), kQuotes)) {
    value.is_quoted = true;
    value.text = Quoted(text);
  } else if (value.text = DollarQuoted(text); !value.text.empty()) {
    value.is_quoted = true;
  } else {
    value.text = text.substr(0, text.find_first_of(kEndsWord));
    const std::string_view next = Skip(text.substr(value.text.size()), kClosing);
    value.ends_statement = next.starts_with(';');
    value.is_alone = next.empty() || IsOneOf(next.front(), "\n#;") || next.starts_with("--");
  }
  return value;
}

// `rest` begins behind the name.
Value ValueBehind(std::string_view rest) {
  std::string_view at = Skip(rest, kBlanksAndLines);
  Sign sign = Sign::kNone;
  if (at.starts_with('=') || at.starts_with(':')) {
    sign = at.starts_with('=') ? Sign::kEquals : Sign::kColon;
  } else if (StartsWithIgnoringCase(at, "to") && at.size() > 2 && IsOneOf(at[2], kBlanksAndLines)) {
    sign = Sign::kTo;
  }
  if (sign == Sign::kNone) {
    return ReadValue(Skip(rest, kBlanks));
  }
  at.remove_prefix(sign == Sign::kTo ? 2 : 1);
  const std::string_view behind = Skip(at, kBlanksAndLines);
  const std::string_view between(rest.data(), rest.size() - behind.size());
  Value value = ReadValue(behind);
  value.sign = sign;
  value.is_attached = sign == Sign::kEquals && between.size() == 1;
  value.is_on_next_line = between.find('\n') != std::string_view::npos;
  return value;
}

// --- Whether it counts ---------------------------------------------------------------------------

// Somebody has left the secret out: "AKIA...", "wJal…", "<key of the bucket>", "****".
bool IsLeftOut(std::string_view text) {
  for (const std::string_view part : {"...", "…", "***", "<"}) {
    if (text.find(part) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

// How a value without quotes may begin in the server's configuration, except for the signs of
// numbers.
bool BeginsAsWord(std::string_view text) {
  return std::isalnum(static_cast<unsigned char>(text.front())) != 0;
}

bool HasDigit(std::string_view text) {
  return text.find_first_of("0123456789") != std::string_view::npos;
}

bool CountsInComment(const Value& value, bool begins_line) {
  if (value.is_on_next_line || value.text.size() < kShortestInComment ||
      IsPlaceholderSecret(value.text) || IsLeftOut(value.text)) {
    return false;
  }
  if (value.is_quoted) {
    return true;
  }
  if (!value.is_alone || !BeginsAsWord(value.text)) {
    return false;
  }
  switch (value.sign) {
    case Sign::kEquals:
      return true;
    case Sign::kTo:
      return value.ends_statement;
    case Sign::kColon:
      return HasDigit(value.text);
    case Sign::kNone:
      break;
  }
  return begins_line && HasDigit(value.text);
}

bool CountsOutsideComments(const Value& value, bool begins_line) {
  if (value.is_quoted) {
    return true;
  }
  if (value.is_on_next_line) {
    return false;  // the next setting follows: this one has no value
  }
  if (value.sign == Sign::kTo) {
    return value.ends_statement;
  }
  if (value.sign == Sign::kNone) {
    // Otherwise it is part of a sentence or a table.
    return begins_line && value.is_alone && BeginsAsWord(value.text);
  }
  return begins_line || value.is_attached || value.is_alone;
}

bool IsSecret(const Value& value, std::string_view before) {
  if (value.text.find_first_not_of('*') == std::string_view::npos || IsPlaceholder(value.text)) {
    return false;
  }
  const bool begins_line = Skip(before, kBeforeName).empty();
  return IsInComment(before) ? CountsInComment(value, begins_line)
                             : CountsOutsideComments(value, begins_line);
}

// --- The name ------------------------------------------------------------------------------------

// `text` begins behind "veza_backup". Returns the text from the second part of the name on. SQL
// allows quotes around each part, and blanks around the dot.
std::optional<std::string_view> SecondPart(std::string_view text) {
  if (!text.starts_with('.')) {
    text = Skip(text.substr(text.starts_with('"') ? 1 : 0), kBlanksAndLines);
  }
  if (!text.starts_with('.')) {
    return std::nullopt;
  }
  text = Skip(text.substr(1), kBlanksAndLines);
  return text.substr(text.starts_with('"') ? 1 : 0);
}

// Skips the quote that closes the name. When no quote opens the name, the quote belongs to the
// value: postgresql.conf allows name'value'.
std::string_view WithoutClosingQuote(std::string_view rest, char opening) {
  if (!IsOneOf(opening, kQuotes)) {
    return rest;
  }
  const std::string_view quote = Skip(rest, "\\");
  return quote.starts_with(opening) ? quote.substr(1) : rest;
}

}  // namespace

// Names count in upper and lower case, as in the server.
std::optional<std::string> FindSetSecret(std::string_view text) {
  for (std::size_t at = 0; at + kSettingPrefix.size() < text.size(); ++at) {
    at = text.find_first_of("vV", at);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    if (!StartsWithIgnoringCase(text.substr(at), kFirstPart)) {
      continue;
    }
    const auto name = SecondPart(text.substr(at + kFirstPart.size()));
    if (!name) {
      continue;
    }
    for (const SettingSpec& spec : AllSettings()) {
      const std::string_view rest = Behind(*name, std::string_view(spec.name).size());
      if (!spec.secret || !StartsWithIgnoringCase(*name, spec.name) ||
          (!rest.empty() && IsWordCharacter(rest.front()))) {
        continue;
      }
      const char before_name = *(name->data() - 1);  // there is at least the dot before it
      const char before_all = at > 0 ? text[at - 1] : '\n';
      const char opening = before_name == '"' ? before_name : before_all;
      if (IsSecret(ValueBehind(WithoutClosingQuote(rest, opening)), LineBefore(text, at))) {
        return fmt::format("{}{}", kSettingPrefix, spec.name);
      }
    }
  }
  return std::nullopt;
}

}  // namespace veza
