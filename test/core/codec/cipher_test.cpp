#include "core/codec/cipher.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

Bytes Hex(std::string_view text) {
  return FromHex(text).value();
}

// The GCM specification's test cases 13 to 16 (McGrew and Viega; NIST's gcm-spec).
TEST(Gcm, KnowsTheVectors) {
  const Bytes zero_key(32, 0);
  const Bytes zero_nonce(12, 0);
  const Bytes key = Hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
  const Bytes nonce = Hex("cafebabefacedbaddecaf888");
  const Bytes text =
      Hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
          "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
  const std::string sealed_text =
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
  const struct {
    Bytes key, nonce, associated, plain;
    std::string sealed;
  } vectors[] = {
      {zero_key, zero_nonce, {}, {}, "530f8afbc74536b9a963b4f1c4cb738b"},
      {zero_key,
       zero_nonce,
       {},
       Bytes(16, 0),
       "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
      {key, nonce, {}, text, sealed_text + "b094dac5d93471bdec1a502270e3cc6c"},
      {key, nonce, Hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
       Bytes(text.begin(), text.end() - 4),
       sealed_text.substr(0, 120) + "76fc6ece0f4e1768cddf8853bb2d551b"},
  };
  for (const auto& v : vectors) {
    Bytes sealed(v.plain.size() + kGcmTagSize);
    ASSERT_OK(EncryptGcm(v.key, v.nonce, {v.associated}, v.plain, sealed));
    EXPECT_EQ(ToHex(sealed), v.sealed);
    Bytes plain(v.plain.size());
    const Result<bool> authentic = DecryptGcm(v.key, v.nonce, {v.associated}, sealed, plain);
    ASSERT_OK(authentic);
    EXPECT_TRUE(*authentic);
    EXPECT_EQ(plain, v.plain);
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
      const Result<bool> forged =
          DecryptGcm(v.key, v.nonce, {v.associated}, FlipBit(sealed, bit), plain);
      ASSERT_OK(forged);
      EXPECT_FALSE(*forged);
    }
  }
}

// NIST SP 800-38A, F.2.5. The first four blocks are those of the vector; padding adds the fifth.
TEST(Cbc, KnowsTheVectorOfNist) {
  const Bytes key = Hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
  const Bytes iv = Hex("000102030405060708090a0b0c0d0e0f");
  const Bytes text =
      Hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
          "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  Bytes sealed(CbcSize(text.size()));
  ASSERT_OK(EncryptCbc(key, iv, text, sealed));
  EXPECT_EQ(ToHex(ByteView(sealed).first(64)),
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
            "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b");
  ASSERT_EQ(sealed.size(), 80U);
  Bytes plain(sealed.size());
  const Result<std::size_t> length = DecryptCbc(key, iv, sealed, plain);
  ASSERT_OK(length);
  plain.resize(*length);
  EXPECT_EQ(plain, text);
}

TEST(Cbc, TellsThatPaddingIsWrong) {
  const Bytes key(32, 1);
  const Bytes iv(16, 2);
  Bytes sealed(CbcSize(16));
  ASSERT_OK(EncryptCbc(key, iv, Bytes(16, 99), sealed));
  sealed.resize(16);  // ends with text, not with padding
  Bytes plain(16);
  const Result<std::size_t> length = DecryptCbc(key, iv, sealed, plain);
  ASSERT_OK(length);
  EXPECT_GT(*length, plain.size());
}

TEST(Ciphers, RefuseWrongSizes) {
  Bytes out(26);
  EXPECT_ERROR(EncryptGcm(Bytes(16), Bytes(12), {}, Bytes(10), out), ErrorCode::kInternal);
  EXPECT_ERROR(EncryptGcm(Bytes(32), Bytes(16), {}, Bytes(10), out), ErrorCode::kInternal);
  EXPECT_ERROR(EncryptGcm(Bytes(32), Bytes(12), {}, Bytes(11), out), ErrorCode::kInternal);
  EXPECT_ERROR(DecryptGcm(Bytes(32), Bytes(12), {}, Bytes(10), out), ErrorCode::kInternal);
  EXPECT_ERROR(EncryptCbc(Bytes(32), Bytes(16), Bytes(10), out), ErrorCode::kInternal);
  EXPECT_ERROR(DecryptCbc(Bytes(32), Bytes(12), Bytes(26), out), ErrorCode::kInternal);
}

}  // namespace
}  // namespace veza
