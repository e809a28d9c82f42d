#include "core/codec/crc32c.h"

#include <array>

namespace veza {

namespace {

constexpr std::array<std::uint32_t, 256> MakeTable() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // bits reversed
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = MakeTable();

}  // namespace

void Crc32c::Add(ByteView bytes) {
  for (const std::uint8_t byte : bytes) {
    state_ = kTable[(state_ ^ byte) & 0xFF] ^ (state_ >> 8);
  }
}

}  // namespace veza
