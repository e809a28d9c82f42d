// A value as other languages than postgresql.conf spell it.
#pragma once

#include <string_view>

namespace veza {

// Whether `text` holds `value`, which is ASCII and not empty: as it is; with escapes of JSON, YAML,
// E'' of SQL or postgresql.conf ("\/", "\u002f", "\x2f", "\057"); with single quotes doubled; or
// percent-encoded. Any of its characters may be spelled so, or none.
bool ContainsSpelled(std::string_view text, std::string_view value);

// How many bytes of text a character may take.
inline constexpr std::size_t kLongestSpelling = 6;

}  // namespace veza
