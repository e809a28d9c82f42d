#include "core/archive/adaptive_level.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

using std::chrono::milliseconds;

TEST(AdaptiveLevel, IsTheConfiguredOneWhileFewWait) {
  for (const int configured : {-7, 3, 19}) {
    AdaptiveLevel level(configured, 2, 9);
    for (std::size_t backlog = 0; backlog < 4; ++backlog) {
      EXPECT_EQ(level.Next(backlog), configured);
      level.Note(milliseconds(80), milliseconds(10));
    }
  }
}

TEST(AdaptiveLevel, FallsStepByStepWithTheBacklogAndComesBackAtOnce) {
  AdaptiveLevel level(3, 2, 9);
  int last = 3;
  for (int i = 0; i < 10; ++i) {
    const int next = level.Next(1000);
    EXPECT_LE(next, last);
    last = next;
    level.Note(milliseconds(80), milliseconds(10));
  }
  EXPECT_LT(last, -10);
  EXPECT_EQ(level.Next(5), 1);
  EXPECT_EQ(level.Next(2), 3);
}

TEST(AdaptiveLevel, StaysWhereStoringTakesTheTime) {
  AdaptiveLevel level(3, 2, 9);
  level.Note(milliseconds(80), milliseconds(2000));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(level.Next(1000), 3);
    level.Note(milliseconds(80), milliseconds(2000));
  }
}

TEST(AdaptiveLevel, StaysWhereCompressingIsHardlySlowerThanStoring) {
  AdaptiveLevel level(3, 2, 9);
  level.Note(milliseconds(40), milliseconds(100));  // of a pipeline's time, 20 and 11
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(level.Next(1000), 3);
  }
  for (int i = 0; i < 20; ++i) {
    level.Note(milliseconds(40), milliseconds(50));
  }
  EXPECT_LT(level.Next(1000), 3);
}

TEST(AdaptiveLevel, RisesWhenStoringBecomesTheBottleneck) {
  AdaptiveLevel level(3, 2, 9);
  for (int i = 0; i < 10; ++i) {
    (void)level.Next(1000);
    level.Note(milliseconds(80), milliseconds(10));
  }
  EXPECT_LT(level.Next(1000), -10);
  int last = -50;
  for (int i = 0; i < 20; ++i) {
    level.Note(milliseconds(20), milliseconds(2000));
    const int next = level.Next(1000);
    EXPECT_GE(next, last);
    last = next;
  }
  EXPECT_EQ(last, 3);
}

TEST(AdaptiveLevel, IsNeverAboveTheConfiguredOne) {
  for (int configured = -7; configured <= 19; ++configured) {
    AdaptiveLevel level(configured, 1, 1);
    for (std::size_t backlog = 0; backlog < 100; ++backlog) {
      EXPECT_LE(level.Next(backlog), configured);
    }
  }
}

}  // namespace
}  // namespace veza
