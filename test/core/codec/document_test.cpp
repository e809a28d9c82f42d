#include "core/codec/document.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>
#include <utility>

#include "core/codec/codec_fixtures.h"
#include "core/codec/json.h"
#include "core/codec/their_json.h"
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
  const Result<std::string> text = SignTheirs(Document(), policy_, kName);
  ASSERT_OK(text);
  const Result<json> back = OpenTheirs(*text, policy_, kName);
  ASSERT_OK(back);
  EXPECT_EQ(*back, Document());

  const json stored = json::parse(*text);
  EXPECT_EQ(stored.at("mac_algorithm"), GetParam() == Cipher::kNone ? "sha-256" : "hmac-sha-256");
  EXPECT_EQ(stored.at("mac").get<std::string>().size(), 64U);

  // The signature covers the content, not its layout.
  EXPECT_OK(OpenTheirs(stored.dump(), policy_, kName));
  EXPECT_OK(OpenTheirs(stored.dump(7, '\t', true), policy_, kName));
  // Signing a signed document replaces the signature.
  EXPECT_EQ(SignTheirs(stored, policy_, kName).value(), *text);
}

TEST_P(DocumentWith, EveryBitCounts) {
  const std::string text = SignTheirs(Document(), policy_, kName).value();
  const Bytes bytes(text.begin(), text.end());
  int accepted = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const Bytes flipped = FlipBit(bytes, bit);
    const Result<json> opened = OpenTheirs(AsText(flipped), policy_, kName);
    // A flipped bit may leave the same text: "\u001f" and "\u001F" are equal.
    EXPECT_TRUE(!opened.has_value() || *opened == Document()) << AsText(flipped);
    accepted += opened.has_value() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 1);
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(OpenTheirs(text.substr(0, length), policy_, kName).has_value());
  }
}

TEST_P(DocumentWith, RefusesAnotherNameKeyOrMember) {
  const std::string text = SignTheirs(Document(), policy_, kName).value();
  const Result<json> renamed = OpenTheirs(text, policy_, "identity/7000000000000000002");
  EXPECT_ERROR(renamed, ErrorCode::kDataCorrupted);
  EXPECT_NE(renamed.error().message.find("identity/7000000000000000002"), std::string::npos);

  json changed = json::parse(text);
  changed["added"] = 1;
  EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  changed = json::parse(text);
  changed.erase("list");
  EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  for (const char* member : {"mac", "mac_algorithm", "format"}) {
    changed = json::parse(text);
    changed.erase(member);
    EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
    changed[member] = json::array();
    EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kDataCorrupted);
  }
  changed = json::parse(text);
  changed["mac_algorithm"] = "md5";
  EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kUnsupported);
  changed = json::parse(text);
  changed["format"] = 2;
  EXPECT_ERROR(OpenTheirs(changed.dump(), policy_, kName), ErrorCode::kUnsupported);

  if (GetParam() != Cipher::kNone) {
    EXPECT_ERROR(OpenTheirs(text, TestPolicy(GetParam(), "other"), kName),
                 ErrorCode::kDataCorrupted);
    EXPECT_ERROR(OpenTheirs(text, TestPolicy(Cipher::kNone), kName), ErrorCode::kWrongKey);
  }
}

TEST(Document, WithoutAKeyIsTheDigestOfCanonicalText) {
  const std::string text = SignTheirs(Document(), TestPolicy(Cipher::kNone), kName).value();
  const Bytes zero(1);
  const Bytes hashed = Concatenate({AsBytes(kName), zero, AsBytes(kCanonicalOfNone)});
  EXPECT_EQ(json::parse(text).at("mac"), ToHex(Sha256Of(hashed)));
}

TEST(Document, WithAKeyIsTheHmacOfCanonicalText) {
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  const std::string text = SignTheirs(Document(), policy, kName).value();
  std::string canonical(kCanonicalOfNone);
  canonical.replace(canonical.find("sha-256"), 7, "hmac-sha-256");
  const Bytes key =
      Hkdf(policy.key->secret(), {}, std::string("veza_backup 1 document ") + kName, 32);
  EXPECT_EQ(json::parse(text).at("mac"), ToHex(HmacSha256(key, {AsBytes(canonical)})));
}

TEST(Document, RefusesAnUnkeyedDocumentWhenEncryptionIsConfigured) {
  const std::string text = SignTheirs(Document(), TestPolicy(Cipher::kNone), kName).value();
  EXPECT_ERROR(OpenTheirs(text, TestPolicy(Cipher::kAes256Gcm), kName),
               ErrorCode::kPermissionDenied);
  EXPECT_ERROR(OpenTheirs(text, SealPolicy{Cipher::kAes256Cbc, nullptr}, kName),
               ErrorCode::kPermissionDenied);
}

TEST(Document, SignsOnlyWhatHasACanonicalText) {
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  for (const json& document :
       {json(1), json::array(), json::object(), json{{"format", 2}}, json{{"format", "1"}},
        json{{"format", 1}, {"x", 1.5}}, json{{"format", 1}, {"x", {{"y", {1.0}}}}},
        json{{"format", 1}, {"x", "\xff"}}, json{{"format", 1}, {"\xff", 1}}}) {
    EXPECT_ERROR(SignTheirs(document, policy, kName), ErrorCode::kInvalidArgument);
  }
  SealPolicy key_but_none = policy;
  key_but_none.cipher = Cipher::kNone;
  EXPECT_ERROR(SignTheirs(Document(), key_but_none, kName), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(SignTheirs(Document(), SealPolicy{Cipher::kAes256Gcm, nullptr}, kName),
               ErrorCode::kFailedPrecondition);
}

TEST(Document, RefusesAnythingButADocument) {
  for (const char* text :
       {"", " ", "{", "[]", "1", "null", "{}", "{\"format\":0}", "{\"format\":1.0}",
        "{\"format\":1}{}", "\xff\xff", "{\"a\":\"\xff\"}"}) {
    EXPECT_ERROR(OpenTheirs(text, TestPolicy(Cipher::kNone), kName), ErrorCode::kDataCorrupted);
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

// Memory stays within a small multiple of the limits for every kind of text.
TEST(Json, MemoryIsBounded) {
  const auto repeated = [](std::string_view text, std::size_t size) {
    std::string all = "{\"a\":[";
    while (all.size() < size) {
      all += text;
    }
    return all + "0]}";
  };
  // An eighth of the real limits, to save time.
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
  // Text within the limits is parsed as the library does.
  for (const char* const text :
       {"null", "true", "-5", "18446744073709551615", "1.5", "\"\\u00e9\"", "[]", "{}", "[[],{}]",
        R"({"a":1,"b":[true,null,{"c":"d"}],"a":2})", R"([{"x":[1,[2,{"y":[3]}]]},4])"}) {
    EXPECT_EQ(Theirs(ParseJson(text).value()), json::parse(text)) << text;
  }
  for (const char* const text : {"", " ", "[", "]", "[1", "{\"a\"", "{\"a\":", "{1:2}", "[1,]",
                                 "nul", "\"\xff\"", "1 2", "1e999", "[1]]", "\"\\ud800\""}) {
    EXPECT_FALSE(ParseJson(text)) << text;
  }
}

// Must be equal byte for byte, because signatures cover the printed text.
TEST(Json, PrintsAsTheLibraryDoes) {
  const json values = {nullptr,
                       true,
                       false,
                       0,
                       -1,
                       std::numeric_limits<std::int64_t>::min(),
                       ~std::uint64_t{0},
                       0.0,
                       -0.0,
                       1.0,
                       0.1,
                       1e300,
                       -2.5e-10,
                       std::numeric_limits<double>::infinity(),
                       "",
                       "plain text",
                       "\"\\/\b\f\n\r\t\x01\x1f\x7f ä€😀",
                       std::string("a\0b", 3),
                       json::array(),
                       json::object(),
                       json::array({json::array({json::array()})}),
                       {{"b", 1}, {"a", {{"c", json::array()}}}},
                       {{"", ""}, {"ä\n", {1, {{"x", nullptr}}}}}};
  for (const int indent : {-1, 0, 1, 2}) {
    EXPECT_EQ(Ours(values).Print(indent), values.dump(indent)) << indent;
    EXPECT_EQ(Ours(values).PrintUtf8(indent), values.dump(indent)) << indent;
    for (const json& value : values) {
      EXPECT_EQ(Ours(value).Print(indent), value.dump(indent)) << indent;
    }
  }
}

json RandomValue(std::mt19937_64& random, int levels) {
  const auto text = [&random] {
    std::string bytes(random() % 8, '\0');
    for (char& byte : bytes) {
      byte = static_cast<char>(random() % 2 == 0 ? random() % 96 + 32 : random());
    }
    return bytes;
  };
  json value;
  switch (random() % (levels > 0 ? 8 : 6)) {
    case 0:
      return random() % 2 == 0 ? json() : json(random() % 4 < 2);
    case 1:
      return static_cast<std::int64_t>(random());
    case 2:
      return random() >> (random() % 64);
    case 3:
      return std::bit_cast<double>(random());
    case 6:
      value = json::array();
      for (std::uint64_t i = random() % 5; i > 0; --i) {
        value.push_back(RandomValue(random, levels - 1));
      }
      return value;
    case 7:
      value = json::object();
      for (std::uint64_t i = random() % 5; i > 0; --i) {
        value[text()] = RandomValue(random, levels - 1);
      }
      return value;
    default:
      return text();
  }
}

TEST(Json, PrintsAndParsesRandomValuesAsTheLibraryDoes) {
  std::mt19937_64 random(1);
  int invalid = 0;
  for (int i = 0; i < 20'000; ++i) {
    const json value = RandomValue(random, 4);
    const Json ours = Ours(value);
    for (const int indent : {-1, 2}) {
      const std::string text = value.dump(indent, ' ', false, json::error_handler_t::replace);
      ASSERT_EQ(ours.Print(indent), text);
      const auto strict = ours.PrintUtf8(indent);
      invalid += strict ? 0 : 1;
      ASSERT_TRUE(!strict || *strict == text);
      const std::optional<Json> parsed = ParseJson(text);
      ASSERT_TRUE(parsed) << text;
      ASSERT_EQ(parsed->Print(indent), json::parse(text).dump(indent));
    }
    ASSERT_EQ(Json(ours).Print(), ours.Print());
  }
  EXPECT_GT(invalid, 1000);
}

TEST(Json, PrintsTextThatIsNotUtf8OnlyReplaced) {
  for (const Json& value : {Json("a\xff"), Json{{"x", "\xc3("}}, Json{{"\xff", 1}}}) {
    EXPECT_EQ(value.PrintUtf8(), std::nullopt);
    EXPECT_NE(value.Print().find("\xef\xbf\xbd"), std::string::npos);
  }
  EXPECT_EQ(ValidUtf8("a\xff b"), "a\xef\xbf\xbd b");
  EXPECT_EQ(PrintInOrder({{"b", 1}, {"a", "\xff"}}, -1), "{\"b\":1,\"a\":\"\xef\xbf\xbd\"}");
  EXPECT_EQ(PrintInOrder({{"b", 1}, {"a", true}}, 2), "{\n  \"b\": 1,\n  \"a\": true\n}");
}

TEST(Json, AccessorsOfAnotherTypeReturnNothing) {
  const Json text("x");
  EXPECT_EQ(text.size(), 0U);
  EXPECT_EQ(text.begin(), text.end());
  EXPECT_EQ(text.Find("x"), nullptr);
  EXPECT_EQ(text.AsBoolean(), std::nullopt);
  EXPECT_EQ(text.AsDouble(), std::nullopt);
  EXPECT_EQ(Json(1).AsText(), nullptr);
  EXPECT_EQ(Json(1.0).AsSigned(), std::nullopt);
  EXPECT_EQ(Json(-1).AsUnsigned(), std::nullopt);
  EXPECT_EQ(Json(1).AsUnsigned(), 1U);
  EXPECT_EQ(Json(std::uint64_t{1} << 63).AsSigned(), std::nullopt);
  EXPECT_EQ(Json(1U).AsSigned(), 1);
}

TEST(Json, ChangesItsMembers) {
  Json object;
  object["b"] = 1;
  object["a"].push_back(Json{{"x", 1}, {"y", "z"}})["y"] = true;
  EXPECT_EQ(object.Print(), R"({"a":[{"x":1,"y":true}],"b":1})");
  const Json copy = object;
  object["a"] = std::as_const(object["a"])[0];
  object.erase("b");
  object.erase("b");
  EXPECT_EQ(object.Print(), R"({"a":{"x":1,"y":true}})");
  EXPECT_EQ(copy.Print(), R"({"a":[{"x":1,"y":true}],"b":1})");
}

TEST(Json, MembersOfAnotherTypeAreAbsent) {
  const Json object = ParseJsonObject(R"({"s":"x","u":5,"n":-5,"f":1.5,"z":null})").value();
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
