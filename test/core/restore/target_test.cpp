#include "core/restore/target.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

TEST(Target, Xid) {
  EXPECT_EQ(ParseTargetXid("3").value(), 3U);
  EXPECT_EQ(ParseTargetXid("4294967295").value(), 4294967295U);
  EXPECT_EQ(ParseTargetXid("18446744073709551615").value(), 18446744073709551615U);
  // 0, 1 and 2, and numbers with these in the lower half, are not normal transaction ids.
  for (const char* text :
       {"", "0", "2", "4294967296", "-5", "+5", "0x10", "12a", " 5", "18446744073709551616"}) {
    EXPECT_FALSE(ParseTargetXid(text).has_value()) << text;
  }
}

TEST(Target, Name) {
  EXPECT_EQ(ParseTargetName("before it's dropped").value(), "before it's dropped");
  EXPECT_TRUE(ParseTargetName(std::string(63, 'n')).has_value());
  EXPECT_FALSE(ParseTargetName(std::string(64, 'n')).has_value());
  EXPECT_FALSE(ParseTargetName("").has_value());
  EXPECT_FALSE(ParseTargetName("a\nb").has_value());
}

TEST(Target, TimelineAndAction) {
  for (const char* text : {"latest", "current", "1", "4294967295"}) {
    EXPECT_EQ(FormatTargetTimeline(ParseTargetTimeline(text).value()), text);
  }
  for (const char* text : {"", "0", "-1", "0x2", "newest", "4294967296", "2 "}) {
    EXPECT_FALSE(ParseTargetTimeline(text).has_value()) << text;
  }
  for (const char* text : {"pause", "promote", "shutdown"}) {
    EXPECT_STREQ(TargetActionName(ParseTargetAction(text).value()), text);
  }
  EXPECT_FALSE(ParseTargetAction("stop").has_value());
}

}  // namespace
}  // namespace veza
