#include "core/backup/spelled_value.h"

#include <array>
#include <charconv>

namespace veza {

namespace {

// A text spells all characters of a value in the same way.
enum class Spelling { kEscaped, kDoubled, kPercent };

struct Character {
  char value = 0;
  std::size_t length = 1;
};

// The number that the first `count` characters of `digits` are. -1 when they are not a number.
int NumberOf(std::string_view digits, std::size_t count, int base) {
  digits = digits.substr(0, count);
  int number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  return digits.size() == count && error == std::errc() && end == digits.data() + digits.size() &&
                 number >= 0
             ? number
             : -1;
}

// The character that the escape behind a backslash stands for.
Character Escaped(std::string_view text) {
  const std::string_view digits = text.substr(1);
  if (const int code = NumberOf(digits, 4, 16); text.front() == 'u' && code >= 0 && code < 128) {
    return {static_cast<char>(code), 6};
  }
  if (const int code = NumberOf(digits, 2, 16); text.front() == 'x' && code >= 0) {
    return {static_cast<char>(code), 4};
  }
  if (const int code = NumberOf(text, 3, 8); code >= 0) {
    return {static_cast<char>(code), 4};
  }
  return {text.front(), 2};
}

// The first character of `text`, which is not empty.
Character First(std::string_view text, Spelling spelling) {
  if (spelling == Spelling::kPercent) {
    const int code = text.front() == '%' ? NumberOf(text.substr(1), 2, 16) : -1;
    return code < 0 ? Character{text.front()} : Character{static_cast<char>(code), 3};
  }
  if (text.starts_with("''")) {
    return {'\'', 2};
  }
  if (spelling == Spelling::kEscaped && text.front() == '\\' && text.size() > 1) {
    return Escaped(text.substr(1));
  }
  return {text.front()};
}

bool BeginsWith(std::string_view text, std::string_view value, Spelling spelling) {
  for (const char wanted : value) {
    if (text.empty()) {
      return false;
    }
    const Character character = First(text, spelling);
    if (character.value != wanted) {
      return false;
    }
    text.remove_prefix(character.length);
  }
  return true;
}

}  // namespace

bool ContainsSpelled(std::string_view text, std::string_view value) {
  if (text.find(value) != std::string_view::npos) {
    return true;
  }
  // A table, because this looks at every byte of a file.
  std::array<bool, 256> begins{};
  for (const char c : {value.front(), '\\', '%'}) {
    begins[static_cast<unsigned char>(c)] = true;
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!begins[static_cast<unsigned char>(text[at])]) {
      continue;
    }
    const std::string_view rest = text.substr(at);
    if (BeginsWith(rest, value, Spelling::kEscaped) ||
        BeginsWith(rest, value, Spelling::kDoubled) ||
        BeginsWith(rest, value, Spelling::kPercent)) {
      return true;
    }
  }
  return false;
}

}  // namespace veza
