#include "core/codec/key_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "core/codec/digest.h"
#include "core/codec/key.h"

namespace veza {

namespace {

constexpr std::size_t kLineBytes = 12;
constexpr std::size_t kLines = kPackedWrapSize / kLineBytes;
constexpr std::size_t kGroup = 4;        // characters
constexpr std::size_t kLineDigits = 20;  // of the bytes: 100 bits, of which the last 4 are zero
constexpr std::size_t kBits = 5;         // of a character
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // of UTF-8; some editors write it
constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static_assert(kPackedWrapSize % kLineBytes == 0 && kLines < 10);

// The first `count` characters of the bytes; what is missing at the end is zero.
std::string ToDigits(ByteView bytes, std::size_t count) {
  std::string digits;
  for (std::size_t bit = 0; digits.size() < count; bit += kBits) {
    unsigned value = 0;
    for (std::size_t i = bit; i < bit + kBits; ++i) {
      const bool is_set = i / 8 < bytes.size() && (bytes[i / 8] >> (7 - i % 8) & 1) != 0;
      value = value << 1 | (is_set ? 1U : 0U);
    }
    digits += kAlphabet[value];
  }
  return digits;
}

// As printed: a capital letter or a digit of the alphabet. nullopt for any other character.
std::optional<char> Canonical(char c) {
  const char lower = LowerCase(c);
  const char meant = lower == 'i' || lower == 'l'   ? '1'
                     : lower == 'o'                 ? '0'
                     : lower >= 'a' && lower <= 'z' ? static_cast<char>(lower - 'a' + 'A')
                                                    : lower;
  return kAlphabet.find(meant) == std::string_view::npos ? std::nullopt : std::optional(meant);
}

Bytes FromDigits(std::string_view digits) {
  Bytes bytes(kLineBytes);
  for (std::size_t i = 0; i < kLineBytes * 8; ++i) {
    const std::size_t value = kAlphabet.find(digits[i / kBits]);
    if ((value >> (kBits - 1 - i % kBits) & 1) != 0) {
      bytes[i / 8] = static_cast<std::uint8_t>(bytes[i / 8] | 1U << (7 - i % 8));
    }
  }
  return bytes;
}

// The checksum is over the number, too: a line must not pass for another one.
std::string LineDigits(std::size_t number, ByteView bytes) {
  Sha256 digest;
  digest.Update(AsBytes(fmt::format("veza_backup key sheet 1 line {}: ", number)));
  digest.Update(bytes);
  return ToDigits(bytes, kLineDigits) + ToDigits(digest.Finish(), kGroup);
}

Error Mistyped(std::size_t number, const std::string& how) {
  return MakeError(ErrorCode::kInvalidArgument, "line {} of the key sheet {}", number, how)
      .WithHint(
          "Compare it with the sheet. A line has a number, a colon, and six groups of four "
          "characters, of which the last is its checksum.");
}

struct Line {
  std::size_t number = 0;
  Bytes bytes;
};

Result<Line> ReadLine(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view before = Trim(text.substr(0, colon), " \t");
  const char number = before.size() == 1 ? Canonical(before[0]).value_or(' ') : ' ';
  if (colon == std::string_view::npos || number < '1' || number > static_cast<char>('0' + kLines)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"{}\" is no line of a key sheet: it does not begin with a number from 1 to "
                     "{} and a colon",
                     Shorten(std::string(text), 60), kLines)
        .WithHint("Type in only the numbered lines. Lines that begin with \"#\" may be left out.");
  }
  Line line{static_cast<std::size_t>(number - '0'), {}};
  std::string digits;
  for (const char c : text.substr(colon + 1)) {
    if (c == ' ' || c == '\t' || c == '-') {
      continue;
    }
    const std::optional<char> digit = Canonical(c);
    if (!digit) {
      return Mistyped(line.number, "has a character that no line has");
    }
    digits += *digit;
  }
  constexpr std::size_t kAll = kLineDigits + kGroup;
  if (digits.size() != kAll) {
    return Mistyped(line.number,
                    fmt::format("has {} characters instead of {}", digits.size(), kAll));
  }
  line.bytes = FromDigits(digits);
  if (LineDigits(line.number, line.bytes) != digits) {
    return Mistyped(line.number, "is mistyped: its checksum does not match");
  }
  return line;
}

}  // namespace

std::string PrintKeySheet(ByteView packed) {
  std::string sheet;
  for (std::size_t number = 1; number <= kLines; ++number) {
    const std::string digits =
        LineDigits(number, packed.subspan((number - 1) * kLineBytes, kLineBytes));
    sheet += fmt::format("{}: ", number);
    for (std::size_t at = 0; at < digits.size(); at += kGroup) {
      sheet += at == 0 ? "" : at == kLineDigits ? "  " : "-";
      sheet += digits.substr(at, kGroup);
    }
    sheet += '\n';
  }
  return sheet;
}

Result<Bytes> ReadKeySheet(std::string_view text) {
  std::array<Bytes, kLines> lines;
  if (text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end), " \t\r");
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.starts_with('#')) {
      continue;
    }
    ASSIGN_OR_RETURN(Line read, ReadLine(line));
    Bytes& there = lines[read.number - 1];
    if (!there.empty() && there != read.bytes) {
      return Mistyped(read.number, "is there twice, with different content");
    }
    there = std::move(read.bytes);
  }
  Bytes packed;
  for (std::size_t number = 1; number <= kLines; ++number) {
    const Bytes& bytes = lines[number - 1];
    if (bytes.empty()) {
      return Mistyped(number, "is missing");
    }
    packed.insert(packed.end(), bytes.begin(), bytes.end());
  }
  return packed;
}

}  // namespace veza
