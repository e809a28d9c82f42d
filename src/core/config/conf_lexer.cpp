#include "core/config/conf_lexer.h"

#include <algorithm>
#include <array>

namespace veza {
namespace {

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsUnitLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool IsHexDigit(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool IsLetter(char c) {
  return IsUnitLetter(c) || c == '_' || static_cast<unsigned char>(c) >= 0200;
}
bool IsLetterOrDigit(char c) {
  return IsLetter(c) || IsDigit(c);
}

template <typename Predicate>
std::size_t Run(std::string_view text, std::size_t from, Predicate predicate) {
  const auto begin = text.begin() + static_cast<std::ptrdiff_t>(std::min(from, text.size()));
  return static_cast<std::size_t>(std::find_if_not(begin, text.end(), predicate) - begin);
}

// Each function returns the length of its match at the start of `text`, and 0 when there is none.

// {LETTER}{LETTER_OR_DIGIT}*
std::size_t MatchId(std::string_view text) {
  return !text.empty() && IsLetter(text[0]) ? Run(text, 0, IsLetterOrDigit) : 0;
}

// {ID}"."{ID}
std::size_t MatchQualifiedId(std::string_view text) {
  const std::size_t first = MatchId(text);
  if (first == 0 || first >= text.size() || text[first] != '.') {
    return 0;
  }
  const std::size_t second = MatchId(text.substr(first + 1));
  return second == 0 ? 0 : first + 1 + second;
}

// \'([^'\\\n]|\\.|\'\')*\'
std::size_t MatchString(std::string_view text) {
  if (!text.starts_with('\'')) {
    return 0;
  }
  std::size_t at = 1;
  while (at < text.size() && text[at] != '\n') {
    if (text[at] == '\\') {
      if (at + 1 >= text.size() || text[at + 1] == '\n') {
        return 0;
      }
      at += 2;
    } else if (text[at] != '\'') {
      ++at;
    } else if (text.substr(at + 1).starts_with('\'')) {
      at += 2;
    } else {
      return at + 1;
    }
  }
  return 0;
}

// {LETTER}({LETTER_OR_DIGIT}|[-._:/])*
std::size_t MatchUnquotedString(std::string_view text) {
  return !text.empty() && IsLetter(text[0])
             ? Run(text, 0,
                   [](char c) {
                     return IsLetterOrDigit(c) || c == '-' || c == '.' || c == ':' || c == '/';
                   })
             : 0;
}

std::size_t MatchSign(std::string_view text) {
  return text.starts_with('-') || text.starts_with('+') ? 1 : 0;
}

// {SIGN}?({DIGIT}+|0x{HEXDIGIT}+){UNIT_LETTER}*
std::size_t MatchInteger(std::string_view text) {
  const std::size_t sign = MatchSign(text);
  const std::size_t digits = Run(text, sign, IsDigit);
  if (digits == 0) {
    return 0;
  }
  std::size_t length = sign + digits;
  if (text.substr(sign).starts_with("0x")) {
    const std::size_t hex = Run(text, sign + 2, IsHexDigit);
    length = hex > 0 ? sign + 2 + hex : length;
  }
  return length + Run(text, length, IsUnitLetter);
}

// {SIGN}?{DIGIT}*"."{DIGIT}*{EXPONENT}?, EXPONENT being [Ee]{SIGN}?{DIGIT}+
std::size_t MatchReal(std::string_view text) {
  std::size_t at = MatchSign(text);
  at += Run(text, at, IsDigit);
  if (at >= text.size() || text[at] != '.') {
    return 0;
  }
  ++at;
  at += Run(text, at, IsDigit);
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    const std::size_t sign = MatchSign(text.substr(at + 1));
    const std::size_t digits = Run(text, at + 1 + sign, IsDigit);
    at += digits > 0 ? 1 + sign + digits : 0;
  }
  return at;
}

std::size_t MatchEquals(std::string_view text) {
  return text.starts_with('=') ? 1 : 0;
}

struct Rule {
  ConfToken token;
  std::size_t (*match)(std::string_view text);
};
constexpr std::array kRules = {
    Rule{ConfToken::kId, MatchId},           Rule{ConfToken::kQualifiedId, MatchQualifiedId},
    Rule{ConfToken::kString, MatchString},   Rule{ConfToken::kUnquotedString, MatchUnquotedString},
    Rule{ConfToken::kInteger, MatchInteger}, Rule{ConfToken::kReal, MatchReal},
    Rule{ConfToken::kEquals, MatchEquals},
};

bool IsOctalDigit(char c) {
  return c >= '0' && c <= '7';
}

char Unescape(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return c;
  }
}

}  // namespace

ConfToken ConfLexer::Next() {
  rest_.remove_prefix(Run(rest_, 0, [](char c) { return c == ' ' || c == '\t' || c == '\r'; }));
  if (rest_.starts_with('#')) {
    rest_.remove_prefix(Run(rest_, 0, [](char c) { return c != '\n'; }));
  }
  token_text_ = rest_.substr(0, 1);
  if (rest_.empty()) {
    return ConfToken::kEndOfFile;
  }
  if (rest_[0] == '\n') {
    rest_.remove_prefix(1);
    return ConfToken::kEndOfLine;
  }
  ConfToken token = ConfToken::kError;
  std::size_t longest = 0;
  for (const Rule& rule : kRules) {
    const std::size_t length = rule.match(rest_);
    if (length > longest) {
      longest = length;
      token = rule.token;
    }
  }
  token_text_ = rest_.substr(0, std::max<std::size_t>(longest, 1));
  rest_.remove_prefix(token_text_.size());
  return token;
}

std::string UnquoteConfString(std::string_view token) {
  const std::string_view inner = token.substr(1, token.size() - 2);
  std::string value;
  value.reserve(inner.size());
  for (std::size_t at = 0; at < inner.size(); ++at) {
    if (inner[at] == '\'') {
      ++at;  // the first of two
      value += '\'';
    } else if (inner[at] != '\\') {
      value += inner[at];
    } else if (++at; IsOctalDigit(inner[at])) {
      const std::size_t digits = std::min<std::size_t>(Run(inner, at, IsOctalDigit), 3);
      unsigned octal = 0;
      for (const char digit : inner.substr(at, digits)) {
        octal = octal * 8 + static_cast<unsigned>(digit - '0');
      }
      value += static_cast<char>(octal);
      at += digits - 1;
    } else {
      value += Unescape(inner[at]);
    }
  }
  return value;
}

}  // namespace veza
