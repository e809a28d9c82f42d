// The tokens of postgresql.conf: the rules of the server's scanner (utils/misc/guc-file.l), longest
// match first, the earlier rule where lengths tie.
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
  // Of the last token, as it stands in the file.
  std::string_view token_text() const { return token_text_; }

 private:
  std::string_view rest_;
  std::string_view token_text_;
};

// What a kString token means: without its quotes, '' as one quote, backslash escapes (\b \f \n \r
// \t, up to three octal digits, otherwise the character itself) resolved.
std::string UnquoteConfString(std::string_view token);

}  // namespace veza
