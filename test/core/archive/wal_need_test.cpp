#include "core/archive/wal_need.h"

#include <gtest/gtest.h>

#include <string>

#include "core/repository/names.h"

namespace veza {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kSystem = 7'000'000'000'000'000'001;
constexpr std::uint64_t kSize = 16U << 20;

std::string Segment(SegmentNumber number, TimelineId timeline = 2, std::uint64_t system = kSystem) {
  return WalObjectName(system, SegmentName(timeline, number, kSize)).value();
}

class WalNeedTest : public testing::Test {
 protected:
  WalNeedAnswer Answer(std::string_view needs_wal) const {
    return AnswerWalNeed(needs_wal, position_);
  }

  WalPosition position_{.system_identifier = kSystem,
                        .timeline = 2,
                        .segment = 300,
                        .segment_size = kSize,
                        .now = SteadyTime(seconds(1000))};
};

TEST_F(WalNeedTest, TheCurrentSegmentIsFinished) {
  EXPECT_EQ(Answer(""), WalNeedAnswer::kNothing);
  EXPECT_EQ(Answer(Segment(300)), WalNeedAnswer::kSwitch);
}

TEST_F(WalNeedTest, OnceForEachSegment) {
  ASSERT_EQ(Answer(Segment(300)), WalNeedAnswer::kSwitch);
  ++position_.segment;
  EXPECT_EQ(Answer(Segment(300)), WalNeedAnswer::kNothing);
}

TEST_F(WalNeedTest, NotTwiceWithinAMinute) {
  position_.last_switch = position_.now - kBetweenSwitches + seconds(1);
  EXPECT_EQ(Answer(Segment(300)), WalNeedAnswer::kLater);
  position_.now += seconds(1);
  EXPECT_EQ(Answer(Segment(300)), WalNeedAnswer::kSwitch);
}

TEST_F(WalNeedTest, OtherServersMayNeedOtherWal) {
  EXPECT_EQ(Answer(Segment(300, 1)), WalNeedAnswer::kNothing);
  EXPECT_EQ(Answer(Segment(300, 3)), WalNeedAnswer::kNothing);
  EXPECT_EQ(Answer(Segment(301, 3)), WalNeedAnswer::kNothing);
  EXPECT_EQ(Answer(Segment(300, 2, kSystem + 1)), WalNeedAnswer::kNothing);
  EXPECT_EQ(Answer(Segment(301, 2, kSystem + 1)), WalNeedAnswer::kNothing);
}

TEST_F(WalNeedTest, NoBackupNeedsWhatWasNotBegun) {
  for (const std::string& strange :
       {Segment(301), Segment(60'000), std::string("x"), std::string("/"),
        std::string(100'000, 'F'), Segment(300) + "/", Segment(300) + ".partial",
        "wal/" + Segment(300) + "\n", std::string(64, '\0')}) {
    EXPECT_EQ(Answer(strange), WalNeedAnswer::kStrange) << strange.substr(0, 100);
  }
}

// Of two names of one number only PostgreSQL's counts.
TEST_F(WalNeedTest, NamesAreThoseOfPostgreSql) {
  std::string name = Segment(300);
  ASSERT_EQ(name.substr(name.size() - 16), "000000010000002C");
  name.replace(name.size() - 16, 16, "000000000000012C");
  EXPECT_NE(Answer(name), WalNeedAnswer::kSwitch);
}

}  // namespace
}  // namespace veza
