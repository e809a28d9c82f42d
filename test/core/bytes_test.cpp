#include "core/bytes.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

TEST(Bytes, HexRoundTrip) {
  const Bytes bytes{0x00, 0x7f, 0xff, 0x1a};
  EXPECT_EQ(ToHex(bytes), "007fff1a");
  EXPECT_EQ(FromHex("007FFF1a"), bytes);
  EXPECT_EQ(FromHex("007"), std::nullopt);
  EXPECT_EQ(FromHex("0g"), std::nullopt);
}

// RFC 4648 section 10.
TEST(Bytes, Base64KnowsTheRfcVectors) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(ToBase64(AsBytes(plain)), coded);
    const auto back = FromBase64(coded);
    ASSERT_TRUE(back.has_value()) << coded;
    EXPECT_EQ(AsText(*back), plain);
  }
  EXPECT_EQ(FromBase64("Zg="), std::nullopt);
  EXPECT_EQ(FromBase64("Z!=="), std::nullopt);
}

TEST(Bytes, LittleEndian) {
  std::uint8_t raw[4];
  StoreLittleEndian<std::uint32_t>(raw, 0x01020304);
  EXPECT_EQ(raw[0], 4);
  EXPECT_EQ(raw[3], 1);
  EXPECT_EQ(LoadLittleEndian<std::uint32_t>(raw), 0x01020304U);
}

}  // namespace
}  // namespace veza
