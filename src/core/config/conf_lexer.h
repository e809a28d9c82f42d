// Splits a postgresql.conf into tokens by the rules of the server's scanner
// (utils/misc/guc-file.l): the longest match wins, and of two matches of the same length the rule
// that comes first.
#pragma once

#include <string>
#include <string_view>

namespace veza {

enum class ConfToken {
  kId,
  kQualifiedId,
  kString,
  kUnquotedString,
  kInteger,
  kReal,
  kEquals,
  kEndOfLine,
  kEndOfFile,
  kError,
};

// Not thread-safe. `text` must outlive it.
class ConfLexer {
 public:
  explicit ConfLexer(std::string_view text) : rest_(text) {}

  ConfToken Next();
  // The text of the last token, as it stands in the file.
  std::string_view token_text() const { return token_text_; }

 private:
  std::string_view rest_;
  std::string_view token_text_;
};

// The value of a kString token: without its quotes, with '' as one quote and with backslash escapes
// resolved (\b \f \n \r \t, up to three octal digits, otherwise the character itself).
std::string UnquoteConfString(std::string_view token);

}  // namespace veza
