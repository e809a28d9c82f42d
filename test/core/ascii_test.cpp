#include "core/ascii.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

TEST(Ascii, OnlyItsCapitalsHaveALowerCase) {
  EXPECT_EQ(LowerCase("@AZ[`az{ 09_-"), "@az[`az{ 09_-");
  EXPECT_EQ(LowerCase("\xc3\x84"), "\xc3\x84");  // a capital letter in UTF-8
}

TEST(Ascii, EqualityIgnoresCase) {
  EXPECT_TRUE(EqualsIgnoringCase("Europe/Berlin", "EUROPE/berlin"));
  EXPECT_FALSE(EqualsIgnoringCase("UTC", "UT"));
  EXPECT_FALSE(EqualsIgnoringCase("[", "{"));
}

}  // namespace
}  // namespace veza
