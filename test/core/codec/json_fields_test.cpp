#include "core/codec/json_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

const std::string kWhere = "some/object";

template <typename T>
Result<T> ReadMember(const char* text) {
  const Json document = ParseJson(text).value_or(Json());
  JsonFields fields(document, kWhere);
  T value{};
  fields.Read("m", value);
  RETURN_IF_ERROR(fields.status());
  return value;
}

TEST(JsonFields, ReadsEachType) {
  EXPECT_EQ(ReadMember<std::string>(R"({"m":"text"})").value(), "text");
  EXPECT_EQ(ReadMember<bool>(R"({"m":true})").value(), true);
  EXPECT_EQ(ReadMember<int>(R"({"m":-5})").value(), -5);
  EXPECT_EQ(ReadMember<std::uint64_t>(R"({"m":18446744073709551615})").value(), ~0ULL);
  EXPECT_EQ(ReadMember<std::int64_t>(R"({"m":-9223372036854775808})").value(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(ReadMember<TimePoint>(R"({"m":"2026-11-22T02:00:00Z"})").value(), kTestTime);
}

TEST(JsonFields, NumbersMustFit) {
  EXPECT_EQ(ReadMember<std::uint32_t>(R"({"m":4294967295})").value(), 4294967295U);
  EXPECT_EQ(ReadMember<int>(R"({"m":2147483647})").value(), 2147483647);
  EXPECT_ERROR(ReadMember<std::uint32_t>(R"({"m":4294967296})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<std::uint32_t>(R"({"m":-1})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<int>(R"({"m":2147483648})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<int>(R"({"m":-2147483649})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<std::int64_t>(R"({"m":9223372036854775808})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<std::uint64_t>(R"({"m":18446744073709551616})"),
               ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<std::uint32_t>(R"({"m":1.0})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<std::uint32_t>(R"({"m":1e3})"), ErrorCode::kDataCorrupted);

  // Numbers that were not parsed from text are signed, even when they are not negative.
  std::uint32_t value = 0;
  EXPECT_TRUE(JsonFields::IntegerFrom(Json(5), value));
  EXPECT_EQ(value, 5U);
  EXPECT_FALSE(JsonFields::IntegerFrom(Json(5'000'000'000), value));
  int narrow = 0;
  EXPECT_FALSE(JsonFields::IntegerFrom(Json(5'000'000'000), narrow));
}

TEST(JsonFields, RefusesOtherTypesAndAbsence) {
  for (const char* text :
       {R"({"m":null})", R"({"m":[]})", R"({"m":{}})", R"({})", R"([])", R"("m")", "", "{"}) {
    EXPECT_ERROR(ReadMember<std::string>(text), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(ReadMember<int>(text), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(ReadMember<bool>(text), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(ReadMember<TimePoint>(text), ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(ReadMember<std::string>(R"({"m":1})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<int>(R"({"m":"1"})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<int>(R"({"m":true})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<bool>(R"({"m":1})"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadMember<TimePoint>(R"({"m":"yesterday"})"), ErrorCode::kDataCorrupted);
}

TEST(JsonFields, KeepsTheFirstErrorAndNamesObjectAndMember) {
  const Json document{{"first", 1}, {"second", 2}, {"third", "x"}};
  JsonFields fields(document, kWhere);
  std::string text = "before";
  int number = 0;
  fields.Read("second", number);
  fields.Read("first", text);
  fields.Read("missing", text);
  fields.Read("third", text);
  EXPECT_EQ(number, 2);
  EXPECT_EQ(text, "before");
  ASSERT_FALSE(fields.status());
  EXPECT_EQ(fields.status().error().message, R"("some/object": member "first" is not a string)");
  EXPECT_TRUE(fields.Has("third"));
  EXPECT_FALSE(fields.Has("missing"));
}

TEST(JsonFields, SystemIdentifiersAreDecimalText) {
  const auto read = [](const Json& member) -> Result<std::uint64_t> {
    const Json document{{"system_identifier", member}};
    JsonFields fields(document, kWhere);
    std::uint64_t value = 0;
    ReadSystemIdentifier(fields, value);
    RETURN_IF_ERROR(fields.status());
    return value;
  };
  EXPECT_EQ(read("7711348379840072545").value(), 7711348379840072545U);
  EXPECT_EQ(read("18446744073709551615").value(), ~0ULL);
  for (const Json& member : {Json(""), Json("12a"), Json("-1"), Json("+1"), Json(" 1"),
                             Json("18446744073709551616"), Json(7), Json(nullptr)}) {
    EXPECT_ERROR(read(member), ErrorCode::kDataCorrupted);
  }
}

}  // namespace
}  // namespace veza
