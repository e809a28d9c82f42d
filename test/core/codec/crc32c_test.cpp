#include "core/codec/crc32c.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace veza
