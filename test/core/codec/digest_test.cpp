#include "core/codec/digest.h"

#include <gtest/gtest.h>

#include <utility>

namespace veza {
namespace {

Bytes Hex(std::string_view text) {
  return FromHex(text).value();
}

// FIPS 180-4, NIST's examples.
TEST(Sha256, KnowsTheVectors) {
  EXPECT_EQ(ToHex(Sha256Of({})),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(ToHex(Sha256Of(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(Sha256Of(AsBytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, TakesPiecesAndCanBeUsedAgain) {
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.Update(AsBytes("a"));
    hash.Update({});
    hash.Update(AsBytes("bc"));
    EXPECT_EQ(hash.Finish(), Sha256Of(AsBytes("abc"))) << round;
  }
  hash.Update(AsBytes("a"));
  Sha256 moved(std::move(hash));
  moved.Update(AsBytes("bc"));
  EXPECT_EQ(moved.Finish(), Sha256Of(AsBytes("abc")));
}

// RFC 4231, test cases 1 to 4, 6 and 7.
TEST(Hmac, KnowsTheVectorsOfRfc4231) {
  const std::string_view data6 = "Test Using Larger Than Block-Size Key - Hash Key First";
  const std::string_view data7 =
      "This is a test using a larger than block-size key and a larger than block-size data. The "
      "key needs to be hashed before being used by the HMAC algorithm.";
  const struct {
    Bytes key;
    Bytes data;
    const char* mac;
  } vectors[] = {
      {Bytes(20, 0x0b), Hex("4869205468657265"),
       "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
      {Hex("4a656665"), Hex("7768617420646f2079612077616e7420666f72206e6f7468696e673f"),
       "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
      {Bytes(20, 0xaa), Bytes(50, 0xdd),
       "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
      {Hex("0102030405060708090a0b0c0d0e0f10111213141516171819"), Bytes(50, 0xcd),
       "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
      {Bytes(131, 0xaa), Bytes(data6.begin(), data6.end()),
       "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
      {Bytes(131, 0xaa), Bytes(data7.begin(), data7.end()),
       "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
  };
  for (const auto& vector : vectors) {
    EXPECT_EQ(ToHex(HmacSha256(vector.key, {vector.data})), vector.mac);
    const ByteView data(vector.data);
    EXPECT_EQ(ToHex(HmacSha256(vector.key, {data.first(1), {}, data.subspan(1)})), vector.mac);
  }
}

// The HMAC of an empty message with an empty key, from other implementations.
TEST(Hmac, TakesAnEmptyKey) {
  EXPECT_EQ(ToHex(HmacSha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

// RFC 5869, appendix A.1 to A.3.
TEST(Hkdf, KnowsTheVectorsOfRfc5869) {
  const auto text = [](const Bytes& bytes) { return std::string(AsText(bytes)); };
  const auto run = [](unsigned from, unsigned to) {
    Bytes bytes;
    for (unsigned value = from; value <= to; ++value) {
      bytes.push_back(static_cast<std::uint8_t>(value));
    }
    return bytes;
  };
  EXPECT_EQ(ToHex(Hkdf(Bytes(22, 0x0b), run(0x00, 0x0c), text(run(0xf0, 0xf9)), 42)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
            "34007208d5b887185865");
  EXPECT_EQ(ToHex(Hkdf(run(0x00, 0x4f), run(0x60, 0xaf), text(run(0xb0, 0xff)), 82)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(ToHex(Hkdf(Bytes(22, 0x0b), {}, "", 42)),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
            "9d201395faa4b61a96c8");
}

TEST(EqualInConstantTime, ComparesLengthAndContent) {
  const Bytes a{1, 2, 3};
  EXPECT_TRUE(EqualInConstantTime(a, Bytes{1, 2, 3}));
  EXPECT_FALSE(EqualInConstantTime(a, Bytes{1, 2, 4}));
  EXPECT_FALSE(EqualInConstantTime(a, Bytes{1, 2}));
  EXPECT_TRUE(EqualInConstantTime({}, {}));
}

}  // namespace
}  // namespace veza
