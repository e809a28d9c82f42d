#include "core/codec/key_sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "core/codec/codec_fixtures.h"
#include "core/codec/hand_made_wrap.h"
#include "core/codec/key.h"

namespace veza {
namespace {

using testing::HasSubstr;

Bytes Packed() {
  return PackWrap(HandMadeWrap(1024, 32, 16).dump()).value();
}

std::vector<std::string> LinesOf(const std::string& sheet) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < sheet.size();) {
    const std::size_t end = sheet.find('\n', begin);
    lines.push_back(sheet.substr(begin, end - begin + 1));
    begin = end + 1;
  }
  return lines;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += line;
  }
  return text;
}

TEST(KeySheet, OpensWithThePassphraseAfterItWasTypedIn) {
  const std::string sheet = PrintKeySheet(Packed());
  const auto typed = ReadKeySheet(sheet);
  ASSERT_OK(typed);
  EXPECT_EQ(*typed, Packed());
  const auto wrap = UnpackWrap(*typed, "db2.example", kTestTime);
  ASSERT_OK(wrap);
  const auto key = UnwrapKey(*wrap, kWrapPassphrase);
  ASSERT_OK(key);
  EXPECT_EQ(key->id(), TestKey().id());
  EXPECT_TRUE(EqualInConstantTime(key->secret(), TestKey().secret()));
  EXPECT_ERROR(UnwrapKey(*wrap, "incorrect horse"), ErrorCode::kWrongKey);
}

TEST(KeySheet, HasTheFormOfTheFormatDocument) {
  const std::string sheet = PrintKeySheet(Packed());
  EXPECT_THAT(LinesOf(sheet), testing::SizeIs(8));
  EXPECT_THAT(LinesOf(sheet), testing::Each(testing::MatchesRegex(
                                  "[1-8]: ([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}"
                                  "  [0-9A-HJKMNP-TV-Z]{4}\n")));
}

TEST(KeySheet, TakesWhatPeopleType) {
  const std::string sheet = PrintKeySheet(Packed());
  std::string sloppy = sheet;
  for (char& c : sloppy) {
    c = c == '1' && &c != sloppy.data() && *(&c + 1) != ':' ? 'l' : c == '0' ? 'o' : c;
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  std::erase(sloppy, '-');
  std::vector<std::string> lines = LinesOf(sloppy);
  std::ranges::reverse(lines);
  lines[0] = "  " + lines[0];
  const auto typed = ReadKeySheet("# a comment: 9\r\n\r\n" + Joined(lines) + LinesOf(sheet)[3]);
  ASSERT_OK(typed);
  EXPECT_EQ(*typed, Packed());

  std::string other_way = "\xEF\xBB\xBF" + sheet;
  other_way[other_way.find("1: ")] = 'I';
  const auto again = ReadKeySheet(other_way);
  ASSERT_OK(again);
  EXPECT_EQ(*again, Packed());
}

// Each character is replaced by each other one, and by its neighbour.
TEST(KeySheet, ATypingErrorIsNamedByItsLine) {
  const std::string sheet = PrintKeySheet(Packed());
  std::size_t number = 1;
  std::size_t missed = 0;
  for (std::size_t i = 0; i < sheet.size(); ++i) {
    const bool is_digit =
        std::isalnum(static_cast<unsigned char>(sheet[i])) != 0 && sheet[i + 1] != ':';
    for (const char other : std::string(is_digit ? "0123456789ABCDEFGHJKMNPQRSTVWXYZ?" : "")) {
      if (other == sheet[i]) {
        continue;
      }
      std::string typed = sheet;
      typed[i] = other;
      const auto read = ReadKeySheet(typed);
      missed += read ? 1 : 0;
      if (!read) {
        EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(read.error().message,
                    HasSubstr(fmt::format("line {} of the key sheet ", number)));
      }
    }
    if (is_digit && sheet[i] != sheet[i + 1] && std::isalnum(sheet[i + 1]) != 0) {
      std::string typed = sheet;
      std::swap(typed[i], typed[i + 1]);
      missed += ReadKeySheet(typed) ? 1 : 0;
    }
    number += sheet[i] == '\n' ? 1 : 0;
  }
  EXPECT_EQ(missed, 0U);
}

TEST(KeySheet, LinesAreCounted) {
  const std::vector<std::string> lines = LinesOf(PrintKeySheet(Packed()));
  std::vector<std::string> less = lines;
  less.erase(less.begin() + 4);
  EXPECT_THAT(ReadKeySheet(Joined(less)).error().message,
              HasSubstr("line 5 of the key sheet is missing"));
  std::vector<std::string> renumbered = lines;
  renumbered[1][0] = '3';
  renumbered[2][0] = '2';
  EXPECT_THAT(ReadKeySheet(Joined(renumbered)).error().message, HasSubstr("is mistyped"))
      << "the number belongs to the checksum";
  const std::string other = LinesOf(PrintKeySheet(
      PackWrap(WrapKey(TestKey(), "another passphrase", "n", kTestTime, SystemRandom()).value())
          .value()))[7];
  EXPECT_THAT(ReadKeySheet(Joined(lines) + other).error().message,
              HasSubstr("line 8 of the key sheet is there twice"));
  for (const char* const line :
       {"9: 0000\n", "0: 0000\n", "12: 0000\n", "1 0000\n", "key\n", ":\n"}) {
    EXPECT_THAT(ReadKeySheet(line).error().message, HasSubstr("is no line of a key sheet")) << line;
  }
  EXPECT_THAT(ReadKeySheet("").error().message, HasSubstr("line 1 of the key sheet is missing"));
  EXPECT_THAT(ReadKeySheet("1: 0000\n").error().message,
              HasSubstr("has 4 characters instead of 24"));
}

TEST(KeySheet, ASheetDoesNotChooseWhatOpeningCosts) {
  Bytes packed = Packed();
  packed[17] = 40;
  EXPECT_ERROR(UnpackWrap(packed, "n", kTestTime), ErrorCode::kUnsupported);
  packed[17] = 64;
  EXPECT_ERROR(UnpackWrap(packed, "n", kTestTime), ErrorCode::kDataCorrupted);
  packed = Packed();
  packed[0] = 2;
  EXPECT_ERROR(UnpackWrap(packed, "n", kTestTime), ErrorCode::kUnsupported);
  packed.pop_back();
  EXPECT_ERROR(UnpackWrap(packed, "n", kTestTime), ErrorCode::kDataCorrupted);
}

}  // namespace
}  // namespace veza
