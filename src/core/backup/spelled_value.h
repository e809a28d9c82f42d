// Finds a value as languages other than postgresql.conf spell it.
#pragma once

#include <string_view>

namespace veza {

// Whether `text` holds `value`, which is ASCII and not empty. Each of its characters may stand as
// it is or with an escape of JSON, YAML, E'' of SQL or postgresql.conf ("\/", "\u002f", "\x2f",
// "\057"). Single quotes may be doubled. Or the value may be percent-encoded.
bool ContainsSpelled(std::string_view text, std::string_view value);

// The most bytes of text that one character may take.
inline constexpr std::size_t kLongestSpelling = 6;

}  // namespace veza
