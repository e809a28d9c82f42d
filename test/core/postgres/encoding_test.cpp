#include "core/postgres/encoding.h"

#include <gtest/gtest.h>

#include "core/codec/json.h"

namespace veza {
namespace {

constexpr PgEncoding kEucJp = 1;
constexpr PgEncoding kMuleInternal = 7;
constexpr PgEncoding kLatin1 = 8;
constexpr PgEncoding kWin1251 = 23;
constexpr PgEncoding kWin1255 = 32;
constexpr PgEncoding kWin1258 = 19;
constexpr PgEncoding kEucJis2004 = 5;
constexpr PgEncoding kKoi8u = 34;

TEST(Encoding, TextBecomesUtf8) {
  EXPECT_EQ(ToUtf8("orders", kLatin1), "orders");
  EXPECT_EQ(ToUtf8("gr\xF6\xDF"
                   "e",
                   kLatin1),
            "größe");
  EXPECT_EQ(ToUtf8("\xC3\xA4", kLatin1), "Ã¤") << "it only looks like UTF-8";
  EXPECT_EQ(ToUtf8("\xE7\xE0\xEA\xE0\xE7", kWin1251), "заказ");
  EXPECT_EQ(ToUtf8("\xDA\xC1\xCB\xC1\xDA", kKoi8u), "заказ");
  EXPECT_EQ(ToUtf8("\xC3\xED\xCA\xB8", kEucJp), "注文");
  EXPECT_EQ(ToUtf8("größe", kUtf8), "größe");
  EXPECT_EQ(ToUtf8("größe", kSqlAscii), "größe");
}

// Their last character could combine with a next one.
TEST(Encoding, NothingIsHeldBackAtTheEnd) {
  EXPECT_EQ(ToUtf8("\xF9\xEC\xE5\xED", kWin1255), "שלום");
  EXPECT_EQ(ToUtf8("\xF9", kWin1255), "ש");
  EXPECT_EQ(ToUtf8("\xF9\xFF\xF9", kWin1255), "ש\\xFFש");
  EXPECT_EQ(ToUtf8("ph\xEA", kWin1258), "phê");
  EXPECT_EQ(FromUtf8("か", kEucJis2004), "\xA4\xAB");
}

TEST(Encoding, WhatIsNoTextIsEscaped) {
  EXPECT_EQ(ToUtf8("gr\xF6\xDF"
                   "e",
                   kUtf8),
            "gr\\xF6\\xDFe");
  EXPECT_EQ(ToUtf8("gr\xF6\xDF"
                   "e",
                   kSqlAscii),
            "gr\\xF6\\xDFe");
  EXPECT_EQ(ToUtf8("gr\xF6\xDF"
                   "e",
                   kMuleInternal),
            "gr\\xF6\\xDFe");
  EXPECT_EQ(ToUtf8("\xC3\xED\xCA", kEucJp), "注\\xCA");
  for (const PgEncoding encoding : {-1, 35, 1 << 30}) {
    EXPECT_EQ(ToUtf8("\xF6", encoding), "\\xF6");
  }
  std::string all(300, 'a');
  for (int byte = 0x80; byte < 0x100; ++byte) {
    all += static_cast<char>(byte);
  }
  for (PgEncoding encoding = 0; encoding < 36; ++encoding) {
    EXPECT_TRUE(IsUtf8(ToUtf8(all, encoding))) << encoding;
  }
}

TEST(Encoding, AndBack) {
  EXPECT_EQ(FromUtf8("größe", kLatin1),
            "gr\xF6\xDF"
            "e");
  EXPECT_EQ(FromUtf8("注文 größe", kLatin1),
            "?? gr\xF6\xDF"
            "e");
  EXPECT_EQ(FromUtf8("注文", kEucJp), "\xC3\xED\xCA\xB8");
  EXPECT_EQ(FromUtf8("größe", kUtf8), "größe");
  EXPECT_EQ(FromUtf8("größe", kSqlAscii), "größe");
  EXPECT_EQ(FromUtf8("größe", kMuleInternal), "gr??e");
  EXPECT_EQ(FromUtf8(std::string(1000, 'a') + "ö", kLatin1), std::string(1000, 'a') + "\xF6");
}

}  // namespace
}  // namespace veza
