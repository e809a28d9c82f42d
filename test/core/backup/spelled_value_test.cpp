#include "core/backup/spelled_value.h"

#include <gtest/gtest.h>

#include <string>

namespace veza {
namespace {

TEST(SpelledValue, IsFoundInEachSpelling) {
  for (const char* text : {
           "wJ/al'r+X",
           "key=wJ/al'r+X;",
           R"("wJ\/al'r+X")",
           R"("wJ\u002Fal'r\u002bX")",
           R"("\x77J\x2fal\'r+X")",
           R"('wJ/al''r+X')",
           R"(E'wJ\057al\'r+X')",
           R"(E'wJ\/al''r+X')",
           "s3://veza:wJ%2Fal%27r%2BX@s3.example.com/",
           "%77%4a%2f%61%6c%27%72%2b%58",
           R"(\\\wJ\/al'r+X)",
           "%%wJ%2fal'r+X",
       }) {
    EXPECT_TRUE(ContainsSpelled(text, "wJ/al'r+X")) << text;
  }
  EXPECT_TRUE(ContainsSpelled(R"("a\\b\"c")", R"(a\b"c)"));
  EXPECT_TRUE(ContainsSpelled(R"('a\b''c')", R"(a\b'c)")) << "a backslash is one in SQL's strings";
}

TEST(SpelledValue, AnotherIsNot) {
  for (const char* text : {
           "",
           "\\",
           "%",
           "wJ",
           "wJ/al'r+",
           R"(wJ\)",
           R"(wJ\u002)",
           "wJ%2",
           "wJ%2Gal'r+X",
           R"(wJ\\/al'r+X)",
           R"(wJ\-5al'r+X)",
           "wj/al'r+x",
       }) {
    EXPECT_FALSE(ContainsSpelled(text, "wJ/al'r+X")) << text;
  }
}

}  // namespace
}  // namespace veza
