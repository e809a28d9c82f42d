// Byte buffers, and the conversions that the whole core uses. Integers on disk are little-endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace veza {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename T>
void StoreLittleEndian(std::uint8_t* to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    to[i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}
template <typename T>
T LoadLittleEndian(const std::uint8_t* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | (static_cast<T>(from[i]) << (8 * i)));
  }
  return value;
}

// Lower-case hexadecimal. FromHex accepts both cases, and returns nullopt for an odd length or for
// a character that is no hexadecimal digit.
std::string ToHex(ByteView bytes);
std::optional<Bytes> FromHex(std::string_view text);

// Standard base64 with padding (RFC 4648 section 4). FromBase64 returns nullopt for anything else.
std::string ToBase64(ByteView bytes);
std::optional<Bytes> FromBase64(std::string_view text);

}  // namespace veza
