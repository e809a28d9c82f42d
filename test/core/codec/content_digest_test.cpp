#include "core/codec/content_digest.h"

#include <gtest/gtest.h>

#include <utility>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

DataKey CountingKey() {
  std::array<std::uint8_t, 32> secret;
  for (std::size_t i = 0; i < secret.size(); ++i) {
    secret[i] = static_cast<std::uint8_t>(i);
  }
  return DataKey({}, secret);
}

std::string HexOf(const ContentDigest& digest) {
  return ToHex(digest.used());
}

// Computed from the definitions (RFC 5869, NIST SP 800-38D) by a program that has nothing in common
// with OpenSSL.
TEST(ContentDigest, KnowsTheVectorsOfGmac) {
  const DataKey key = CountingKey();
  EXPECT_EQ(ToHex(key.content_digest_key()),
            "85f91ed612147cbf53a135e995e8d0c089d5f863b44cd9bed80b045c36823f79");
  const auto gmac = [&](ByteView content) {
    return HexOf(DigestContent(DigestMethod::kGmac, &key, content));
  };
  EXPECT_EQ(gmac({}), "d1f7182e13977f8cbe70aa1b5c7cd150");
  EXPECT_EQ(gmac(AsBytes("abc")), "a272e10b1721555ecd664a5642d45fe8");
  EXPECT_EQ(gmac(Bytes(1U << 20)), "76a71b2aaacb7cbcda7162fdc7be4995");
}

TEST(ContentDigest, IsSha256WithoutAKey) {
  const ContentDigest digest = DigestContent(DigestMethod::kSha256, nullptr, AsBytes("abc"));
  EXPECT_EQ(digest.bytes, Sha256Of(AsBytes("abc")));
  EXPECT_EQ(digest.used().size(), 32U);
}

TEST(ContentDigest, TakesPiecesAndCanBeUsedAgain) {
  const DataKey key = CountingKey();
  const Bytes content = TestBytes(100'000);
  for (const DigestMethod method : {DigestMethod::kSha256, DigestMethod::kGmac}) {
    const ContentDigest whole = DigestContent(method, &key, content);
    ContentHash hash(method, &key);
    for (const std::size_t piece : {1U, 15U, 16U, 17U, 4096U, 100'000U}) {
      for (ByteView left = content; !left.empty();) {
        const ByteView taken = left.first(std::min(piece, left.size()));
        hash.Update(taken);
        hash.Update({});
        left = left.subspan(taken.size());
      }
      EXPECT_EQ(hash.Finish(), whole) << piece;
    }
    hash.Update(ByteView(content).first(50'000));
    ContentHash moved(std::move(hash));
    moved.Update(ByteView(content).subspan(50'000));
    EXPECT_EQ(moved.Finish(), whole);
  }
}

TEST(ContentDigest, TellsContentsMethodsAndKeysApart) {
  const DataKey key = CountingKey();
  const DataKey other = TestKey();
  const ContentDigest digest = DigestContent(DigestMethod::kGmac, &key, Bytes(1000));
  EXPECT_NE(digest, DigestContent(DigestMethod::kGmac, &key, Bytes(1001)));
  EXPECT_NE(digest, DigestContent(DigestMethod::kGmac, &other, Bytes(1000)));
  EXPECT_NE(digest, DigestContent(DigestMethod::kSha256, &key, Bytes(1000)));
}

TEST(ContentDigest, HasTheSizeOfItsMethod) {
  EXPECT_TRUE(ContentDigest::Of(DigestMethod::kSha256, Bytes(32)).has_value());
  EXPECT_TRUE(ContentDigest::Of(DigestMethod::kGmac, Bytes(16)).has_value());
  EXPECT_FALSE(ContentDigest::Of(DigestMethod::kSha256, Bytes(16)).has_value());
  EXPECT_FALSE(ContentDigest::Of(DigestMethod::kGmac, Bytes(32)).has_value());
  EXPECT_FALSE(ContentDigest::Of(DigestMethod::kGmac, {}).has_value());
}

}  // namespace
}  // namespace veza
