#include "core/codec/document.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"
#include "core/codec/json.h"
#include "core/memory_gauge.h"

namespace veza {
namespace {

using nlohmann::json;

constexpr const char* kName = "identity/7000000000000000001";

json Document() {
  return {{"format", 1},
          {"system_identifier", "7000000000000000001"},
          {"Upper", -5},
          {"size", std::uint64_t{1} << 63},
          {"text", "\"\\/\b\f\n\r\t\x01\x1f\x7f ä€😀"},
          {"list", {1, true, nullptr, {{"b", 1}, {"a", json::array()}}}}};
}

// The same as Python's json.dumps(sort_keys=True, ensure_ascii=False, separators=(',', ':')).
constexpr std::string_view kCanonicalOfNone =
    "{\"Upper\":-5,\"format\":1,\"list\":[1,true,null,{\"a\":[],\"b\":1}],"
    "\"mac_algorithm\":\"sha-256\",\"size\":9223372036854775808,"
    "\"system_identifier\":\"7000000000000000001\","
    "\"text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f ä€😀\"}";

class DocumentWith : public testing::TestWithParam<Cipher> {
 protected:
  SealPolicy policy_ = TestPolicy(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Ciphers, DocumentWith, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(DocumentWith, RoundTrip) {
  const Result<std::string> text = SignDocument(Document(), policy_, kName);
  ASSERT_OK(text);
  const Result<json> back = OpenDocument(*text, policy_, kName);
  ASSERT_OK(back);
  EXPECT_EQ(*back, Document());

  const json stored = json::parse(*text);
  EXPECT_EQ(stored.at("mac_algorithm"), GetParam() == Cipher::kNone ? "sha-256" : "hmac-sha-256");
  EXPECT_EQ(stored.at("mac").get<std::string>().size(), 64U);

  // What counts is the content, not how somebody printed it.
  EXPECT_OK(OpenDocument(stored.dump(), policy_, kName));
  EXPECT_OK(OpenDocument(stored.dump(7, '\t', true), policy_, kName));
  // Signing what was signed replaces the signature.
  EXPECT_EQ(SignDocument(stored, policy_, kName).value(), *text);
}

TEST_P(DocumentWith, EveryBitCounts) {
  const std::string text = SignDocument(Document(), policy_, kName).value();
  const Bytes bytes(text.begin(), text.end());
  int accepted = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const Bytes flipped = FlipBit(bytes, bit);
    const Result<json> opened = OpenDocument(AsText(flipped), policy_, kName);
    // "\u001f" and "\u001F" are the same text.
    EXPECT_TRUE(!opened.has_value() || *opened == Document()) << AsText(flipped);
    accepted += opened.has_value() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 1);
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(OpenDocument(text.substr(0, length), policy_, kName).has_value());
  }
}

TEST_P(DocumentWith, RefusesAnotherNameKeyOrMember) {
  const std::string text = SignDocument(Document(), policy_, kName).value();
  const Result<json> renamed = OpenDocument(text, policy_, "identity/7000000000000000002");
  EXPECT_ERROR(renamed, ErrorCode::kDataCorrupted);
  EXPECT_NE(renamed.error().message.find("identity/7000000000000000002"), std::string::npos);

  json changed = json::parse(text);
  changed["added"] = 1;
  EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  changed = json::parse(text);
  changed.erase("list");
  EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  for (const char* member : {"mac", "mac_algorithm", "format"}) {
    changed = json::parse(text);
    changed.erase(member);
    EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
    changed[member] = json::array();
    EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  }
  changed = json::parse(text);
  changed["mac_algorithm"] = "md5";
  EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kUnsupported);
  changed = json::parse(text);
  changed["format"] = 2;
  EXPECT_ERROR(OpenDocument(changed.dump(), policy_, kName), ErrorCode::kUnsupported);

  if (GetParam() != Cipher::kNone) {
    EXPECT_ERROR(OpenDocument(text, TestPolicy(GetParam(), "other"), kName),
                 ErrorCode::kDataCorrupted);
    EXPECT_ERROR(OpenDocument(text, TestPolicy(Cipher::kNone), kName), ErrorCode::kWrongKey);
  }
}

TEST(Document, WithoutAKeyIsTheDigestOfCanonicalText) {
  const std::string text = SignDocument(Document(), TestPolicy(Cipher::kNone), kName).value();
  const Bytes zero(1);
  const Bytes hashed = Concatenate({AsBytes(kName), zero, AsBytes(kCanonicalOfNone)});
  EXPECT_EQ(json::parse(text).at("mac"), ToHex(Sha256Of(hashed)));
}

TEST(Document, WithAKeyIsTheHmacOfCanonicalText) {
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  const std::string text = SignDocument(Document(), policy, kName).value();
  std::string canonical(kCanonicalOfNone);
  canonical.replace(canonical.find("sha-256"), 7, "hmac-sha-256");
  const Bytes key =
      Hkdf(policy.key->secret(), {}, std::string("veza_backup 1 document ") + kName, 32);
  EXPECT_EQ(json::parse(text).at("mac"), ToHex(HmacSha256(key, {AsBytes(canonical)})));
}

TEST(Document, RefusesOneWithoutAKeyWhereEncryptionIsConfigured) {
  const std::string text = SignDocument(Document(), TestPolicy(Cipher::kNone), kName).value();
  EXPECT_ERROR(OpenDocument(text, TestPolicy(Cipher::kAes256Gcm), kName),
               ErrorCode::kPermissionDenied);
  EXPECT_ERROR(OpenDocument(text, SealPolicy{Cipher::kAes256Cbc, nullptr}, kName),
               ErrorCode::kPermissionDenied);
}

TEST(Document, SignsOnlyWhatHasACanonicalText) {
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  for (const json& document :
       {json(1), json::array(), json::object(), json{{"format", 2}}, json{{"format", "1"}},
        json{{"format", 1}, {"x", 1.5}}, json{{"format", 1}, {"x", {{"y", {1.0}}}}},
        json{{"format", 1}, {"x", "\xff"}}, json{{"format", 1}, {"\xff", 1}}}) {
    EXPECT_ERROR(SignDocument(document, policy, kName), ErrorCode::kInvalidArgument);
  }
  SealPolicy key_but_none = policy;
  key_but_none.cipher = Cipher::kNone;
  EXPECT_ERROR(SignDocument(Document(), key_but_none, kName), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(SignDocument(Document(), SealPolicy{Cipher::kAes256Gcm, nullptr}, kName),
               ErrorCode::kFailedPrecondition);
}

TEST(Document, RefusesWhatIsNoDocument) {
  for (const char* text :
       {"", " ", "{", "[]", "1", "null", "{}", "{\"format\":0}", "{\"format\":1.0}",
        "{\"format\":1}{}", "\xff\xff", "{\"a\":\"\xff\"}"}) {
    EXPECT_ERROR(OpenDocument(text, TestPolicy(Cipher::kNone), kName), ErrorCode::kDataCorrupted);
  }
}

std::string Nested(int levels) {
  return "{\"a\":" + std::string(static_cast<std::size_t>(levels - 1), '[') +
         std::string(static_cast<std::size_t>(levels - 1), ']') + "}";
}

// The outermost object is the first level.
TEST(Json, TakesSixteenLevels) {
  EXPECT_TRUE(ParseJsonObject(Nested(2)).has_value());
  EXPECT_TRUE(ParseJsonObject(Nested(16)).has_value());
  EXPECT_FALSE(ParseJsonObject(Nested(17)).has_value());
  EXPECT_FALSE(ParseJsonObject(Nested(1'000'000)).has_value());
  EXPECT_FALSE(ParseJsonObject("{\"a\":" + std::string(1'000'000, '[')).has_value());
}

// Whatever the text is made of, memory is a small multiple of the limits.
TEST(Json, MemoryIsBounded) {
  const auto repeated = [](std::string_view text, std::size_t size) {
    std::string all = "{\"a\":[";
    while (all.size() < size) {
      all += text;
    }
    return all + "0]}";
  };
  // An eighth of what is allowed, which takes an eighth of the time.
  constexpr JsonLimits kLimits{.size = limits::kBackupDocument / 8,
                               .values = limits::kJsonValues / 8};
  constexpr std::size_t kSize = 15U << 17;
  for (const char* const text :
       {"[],", "{},", "\"\",", "0,", "\"a name of more than sixteen bytes\",", "{\"\":0},"}) {
    const std::string document = repeated(text, kSize);
    const MemoryGauge gauge;
    EXPECT_EQ(ParseJson(document, kLimits).has_value(),
              document.size() / std::string(text).size() < 250'000)
        << text;
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 48U << 20) << text;
    }
  }
  for (const std::string& text :
       {std::string(16U << 20, '['), "{\"a\":" + std::string(15U << 20, '['),
        std::string(64U << 20, ' '), std::string(17U << 20, '1')}) {
    const MemoryGauge gauge;
    EXPECT_FALSE(ParseJson(text));
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 4U << 20) << text.substr(0, 10);
    }
  }
}

TEST(Json, KeepsItsLimits) {
  EXPECT_TRUE(ParseJson("[1,2,3]", {.size = 7, .values = 4}));
  EXPECT_FALSE(ParseJson("[1,2,3]", {.size = 6, .values = 4}));
  EXPECT_FALSE(ParseJson("[1,2,3]", {.size = 7, .values = 3}));
  EXPECT_TRUE(ParseJson(R"({"a":{"b":1}})", {.size = 100, .values = 5}));
  EXPECT_FALSE(ParseJson(R"({"a":{"b":1}})", {.size = 100, .values = 4}));
  // What it takes, it takes as the library does.
  for (const char* const text :
       {"null", "true", "-5", "18446744073709551615", "1.5", "\"\\u00e9\"", "[]", "{}", "[[],{}]",
        R"({"a":1,"b":[true,null,{"c":"d"}],"a":2})", R"([{"x":[1,[2,{"y":[3]}]]},4])"}) {
    EXPECT_EQ(ParseJson(text).value(), json::parse(text)) << text;
  }
  for (const char* const text : {"", " ", "[", "]", "[1", "{\"a\"", "{\"a\":", "{1:2}", "[1,]",
                                 "nul", "\"\xff\"", "1 2", "1e999", "[1]]", "\"\\ud800\""}) {
    EXPECT_FALSE(ParseJson(text)) << text;
  }
}

TEST(Json, MembersHaveTheirTypeOrAreNotThere) {
  const json object = ParseJsonObject(R"({"s":"x","u":5,"n":-5,"f":1.5,"z":null})").value();
  EXPECT_EQ(StringMember(object, "s"), "x");
  EXPECT_EQ(StringMember(object, "u"), std::nullopt);
  EXPECT_EQ(StringMember(object, "absent"), std::nullopt);
  EXPECT_EQ(UnsignedMember(object, "u"), 5U);
  for (const char* name : {"s", "n", "f", "z", "absent"}) {
    EXPECT_EQ(UnsignedMember(object, name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace veza
