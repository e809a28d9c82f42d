#include "core/codec/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace veza {
namespace {

std::uint32_t Of(std::string_view text) {
  Crc32c crc;
  crc.Add(AsBytes(text));
  return crc.value();
}

// RFC 3720, B.4, and the check value of the usual CRC catalogues.
TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(Of(""), 0U);
  EXPECT_EQ(Of("123456789"), 0xE3069283U);
  EXPECT_EQ(Of(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(Of(std::string(32, '\xff')), 0x62A8AB43U);
}

TEST(Crc32c, InPieces) {
  Crc32c crc;
  crc.Add(AsBytes("1234"));
  crc.Add({});
  crc.Add(AsBytes("56789"));
  EXPECT_EQ(crc.value(), 0xE3069283U);
}

// Bit by bit, as the polynomial says.
std::uint32_t Slowly(ByteView bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    }
  }
  return ~crc;
}

TEST(Crc32c, EveryLengthFromEveryPlaceInEveryWay) {
  std::mt19937_64 random(1);
  Bytes bytes(3000);
  std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random()); });
  for (std::size_t length = 0; length < 2900; length += 1 + length / 40) {
    const ByteView part = ByteView(bytes).subspan(length % 9, length);
    const std::uint32_t expected = Slowly(part);
    Crc32c crc;
    crc.Add(part);
    EXPECT_EQ(crc.value(), expected) << length;
    EXPECT_EQ(~AddToCrc32cByTables(0xFFFFFFFF, part), expected) << length;
    Crc32c in_two;
    in_two.Add(part.first(length / 3));
    in_two.Add(part.subspan(length / 3));
    EXPECT_EQ(in_two.value(), expected) << length;
  }
}

}  // namespace
}  // namespace veza
