// Text of databases that are not in UTF-8, converted by the C library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace veza {

// An encoding of a database, as pg_database.encoding has it: pg_enc in mb/pg_wchar.h, the same in
// 15 to 18.
using PgEncoding = std::int32_t;
inline constexpr PgEncoding kSqlAscii = 0;
inline constexpr PgEncoding kUtf8 = 6;

// Whether every byte is below 0x80: such text is the same in all encodings of databases.
bool IsAscii(std::string_view text);

// The text in UTF-8. A byte that is no part of a letter in `encoding` becomes "\xE4". So does every
// byte beyond ASCII if nobody knows what it means: the encoding is SQL_ASCII and the text is not
// UTF-8, or the C library does not know the encoding.
std::string ToUtf8(const std::string& text, PgEncoding encoding);

// Text of UTF-8 in `encoding`. A letter that it does not have becomes "?". With SQL_ASCII the text
// stays as it is.
std::string FromUtf8(const std::string& text, PgEncoding encoding);

}  // namespace veza
