#include "core/codec/key.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "core/codec/codec_fixtures.h"
#include "core/codec/hand_made_wrap.h"

namespace veza {
namespace {

TEST(DataKey, IsRandomAndNamedByItsId) {
  const DataKey a = DataKey::Generate(SystemRandom());
  const DataKey b = DataKey::Generate(SystemRandom());
  EXPECT_NE(a.hex_id(), b.hex_id());
  EXPECT_FALSE(EqualInConstantTime(a.secret(), b.secret()));
  EXPECT_EQ(a.hex_id().size(), 32U);
}

TEST(KeyWrap, RoundTrip) {
  const DataKey key = DataKey::Generate(SystemRandom());
  const Result<std::string> wrap =
      WrapKey(key, kWrapPassphrase, "db1.example", kTestTime, SystemRandom());
  ASSERT_OK(wrap);
  const nlohmann::json json = nlohmann::json::parse(*wrap);
  EXPECT_EQ(json.at("format"), 1);
  EXPECT_EQ(json.at("key_id"), key.hex_id());
  EXPECT_EQ(json.at("n"), 32768);
  EXPECT_EQ(json.at("r"), 8);
  EXPECT_EQ(json.at("p"), 1);
  EXPECT_EQ(json.at("node"), "db1.example");
  EXPECT_EQ(json.at("created"), "2026-11-22T02:00:00Z");
  EXPECT_EQ(wrap->find(kWrapPassphrase), std::string::npos);

  const Result<DataKey> back = UnwrapKey(*wrap, kWrapPassphrase);
  ASSERT_OK(back);
  EXPECT_EQ(back->id(), key.id());
  EXPECT_TRUE(EqualInConstantTime(back->secret(), key.secret()));

  const Result<DataKey> wrong = UnwrapKey(*wrap, "incorrect horse");
  EXPECT_ERROR(wrong, ErrorCode::kWrongKey);
  EXPECT_EQ(wrong.error().message.find("horse"), std::string::npos);
  EXPECT_ERROR(UnwrapKey(*wrap, ""), ErrorCode::kWrongKey);
}

TEST(KeyWrap, AcceptsANodeNameThatIsNotUtf8) {
  const Result<std::string> wrap = WrapKey(TestKey(), "", "\xff\xfe", kTestTime, SystemRandom());
  ASSERT_OK(wrap);
  EXPECT_OK(UnwrapKey(*wrap, ""));
}

TEST(KeyWrap, OpensWithOtherCosts) {
  for (const auto& wrap : {HandMadeWrap(2, 1, 1), HandMadeWrap(1024, 32, 16)}) {
    const Result<DataKey> key = UnwrapKey(wrap.dump(), kWrapPassphrase);
    ASSERT_OK(key);
    EXPECT_EQ(key->id(), TestKey().id());
  }
}

template <typename Work>
auto TimeOf(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::steady_clock::now() - begin;
}

TEST(KeyWrap, ASecondOpeningDoesNotRunScrypt) {
  const DataKey key = DataKey::Generate(SystemRandom());
  const std::string wrap = HandMadeWrap(key, kWrapPassphrase, 65536, 8, 1).dump();
  const auto first = TimeOf([&] { EXPECT_OK(UnwrapKey(wrap, kWrapPassphrase)); });
  const auto twenty_more = TimeOf([&] {
    for (int i = 0; i < 20; ++i) {
      const Result<DataKey> again = UnwrapKey(wrap, kWrapPassphrase);
      ASSERT_OK(again);
      EXPECT_TRUE(EqualInConstantTime(again->secret(), key.secret()));
    }
  });
  EXPECT_LT(twenty_more, first);
  // The remembered key is returned only for the same passphrase and wrap.
  EXPECT_ERROR(UnwrapKey(wrap, "another passphrase altogether"), ErrorCode::kWrongKey);
  EXPECT_ERROR(UnwrapKey(wrap.substr(1), kWrapPassphrase), ErrorCode::kDataCorrupted);
}

TEST(KeyWrap, RefusesCostsBeyondTheLimits) {
  const struct {
    const char* member;
    std::uint64_t value;
    ErrorCode code;
  } cases[] = {
      {"n", 2097152, ErrorCode::kUnsupported},
      {"r", 33, ErrorCode::kUnsupported},
      {"p", 17, ErrorCode::kUnsupported},
      {"n", std::uint64_t{1} << 63, ErrorCode::kUnsupported},
      {"n", 0, ErrorCode::kDataCorrupted},
      {"n", 1, ErrorCode::kDataCorrupted},
      {"n", 1000, ErrorCode::kDataCorrupted},
      {"r", 0, ErrorCode::kDataCorrupted},
      {"p", 0, ErrorCode::kDataCorrupted},
  };
  for (const auto& c : cases) {
    nlohmann::json wrap = CheapWrap();
    wrap[c.member] = c.value;
    EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), c.code);
  }
  const struct {
    std::uint64_t n, r, p;
  } together[] = {
      {1048576, 32, 1},                    // 4 GiB
      {1048576, 2, 1},                     // 256 MiB
      {65536, 32, 1},                      // 256 MiB
      {32768, 8, 8},                       // eight times the work of our parameters
      {131072, 8, 2},   {1048576, 1, 16},  // 13 s on a fast machine
  };
  for (const auto& c : together) {
    nlohmann::json wrap = CheapWrap();
    wrap["n"] = c.n;
    wrap["r"] = c.r;
    wrap["p"] = c.p;
    EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kUnsupported);
  }
  // A later version may use these parameters.
  EXPECT_OK(UnwrapKey(HandMadeWrap(131072, 8, 1).dump(), kWrapPassphrase));
}

// Somebody who can write to the store must not make the server run scrypt every half minute in
// vain.
TEST(KeyWrap, AWrongPassphraseIsTriedOnce) {
  const DataKey key = DataKey::Generate(SystemRandom());
  const std::string wrap = HandMadeWrap(key, kWrapPassphrase, 65536, 8, 1).dump();
  const auto fails = [&] {
    const Result<DataKey> opened = UnwrapKey(wrap, "not the passphrase");
    EXPECT_ERROR(opened, ErrorCode::kWrongKey);
    EXPECT_NE(opened.error().message.find(key.hex_id()), std::string::npos);
  };
  const auto first = TimeOf(fails);
  const auto twenty_more = TimeOf([&] {
    for (int i = 0; i < 20; ++i) {
      fails();
    }
  });
  EXPECT_LT(twenty_more, first);
  // The failure is remembered only for the same passphrase and wrap.
  EXPECT_OK(UnwrapKey(wrap, kWrapPassphrase));
}

TEST(KeyWrap, RefusesUnknownFormatsAndAlgorithms) {
  const std::pair<const char*, nlohmann::json> cases[] = {
      {"format", 2}, {"kdf", "argon2id"}, {"cipher", "chacha20-poly1305"}};
  for (const auto& [member, value] : cases) {
    nlohmann::json wrap = CheapWrap();
    wrap[member] = value;
    EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kUnsupported);
  }
}

TEST(KeyWrap, RefusesAnythingButAKeyWrap) {
  for (const char* text : {"", "{}", "[]", "null", "{\"format\":1}", "\xff", "{\"format\":-1}"}) {
    EXPECT_ERROR(UnwrapKey(text, kWrapPassphrase), ErrorCode::kDataCorrupted);
  }
  for (const char* member :
       {"format", "key_id", "kdf", "n", "r", "p", "salt", "cipher", "nonce", "wrapped"}) {
    nlohmann::json without = CheapWrap();
    without.erase(member);
    EXPECT_ERROR(UnwrapKey(without.dump(), kWrapPassphrase), ErrorCode::kDataCorrupted);
    for (const nlohmann::json& other :
         {nlohmann::json(nullptr), nlohmann::json(true), nlohmann::json(-5), nlohmann::json(1.5),
          nlohmann::json::array({1}), nlohmann::json::object()}) {
      nlohmann::json with_other = CheapWrap();
      with_other[member] = other;
      EXPECT_ERROR(UnwrapKey(with_other.dump(), kWrapPassphrase), ErrorCode::kDataCorrupted);
    }
  }
  for (const char* member : {"key_id", "salt", "nonce", "wrapped"}) {
    nlohmann::json wrap = CheapWrap();
    const std::string value = wrap[member];
    wrap[member] = value.substr(4);
    EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kDataCorrupted);
    wrap[member] = "!" + value.substr(1);
    EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kDataCorrupted);
  }
}

// The key id is authenticated: a wrap cannot be passed off as the wrap of another key.
TEST(KeyWrap, RefusesToBeRenamed) {
  nlohmann::json wrap = CheapWrap();
  wrap["key_id"] = TestKey("other").hex_id();
  EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kWrongKey);
}

TEST(KeyWrap, RefusesAnyChangedBitOfTheCryptographicMembers) {
  const nlohmann::json intact = CheapWrap();
  for (const char* member : {"salt", "nonce", "wrapped"}) {
    const Bytes bytes = FromBase64(intact[member].get<std::string>()).value();
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      nlohmann::json wrap = intact;
      wrap[member] = ToBase64(FlipBit(bytes, bit));
      EXPECT_ERROR(UnwrapKey(wrap.dump(), kWrapPassphrase), ErrorCode::kWrongKey);
    }
  }
}

}  // namespace
}  // namespace veza
