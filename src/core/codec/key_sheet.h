// A key wrap as text that a person can print, keep in a safe, and type in again.
//
// Eight numbered lines. Each has 12 bytes of the packed wrap (key.h) as five groups of four
// characters, and a sixth group as checksum over the number and the bytes:
//
//   1: 05JK-N8DZ-... -QR7S  4F0M
//
// The characters are those of Crockford's base 32: digits and capital letters without I, L, O and
// U. A reader takes small letters as well, I and L for 1, and O for 0, in the numbers of the lines,
// too. Lines that begin with '#', empty lines, blanks, hyphens and a byte order mark mean nothing,
// and the lines may come in any order.
#pragma once

#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

// `packed` has kPackedWrapSize bytes.
std::string PrintKeySheet(ByteView packed);

// kInvalidArgument, naming the number of the line, when a line is missing, mistyped, or there twice
// with different content.
Result<Bytes> ReadKeySheet(std::string_view text);

}  // namespace veza
