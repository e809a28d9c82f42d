#include "core/archive/lineage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kSize = kTestSegmentSize;

TimePoint Day(int day) {
  return kTestTime + std::chrono::hours(24 * day);
}

TimelineTrace Trace(TimelineId timeline, std::vector<TimelineSwitch> ancestors, SegmentNumber last,
                    int day) {
  return {timeline, TimelineHistory{timeline, std::move(ancestors)}, last, Day(day)};
}
TimelineSwitch LeftAt(TimelineId timeline, SegmentNumber segment) {
  return {timeline, Lsn{segment * kSize + 100}};
}

TEST(Lineage, WhatWasFollowedIsNoLineOfItsOwn) {
  const Lineage lineage(kSize, {Trace(1, {}, 9, 1), Trace(2, {LeftAt(1, 10)}, 12, 2)});
  EXPECT_THAT(lineage.alive(), ElementsAre(2));
  EXPECT_TRUE(lineage.Holds(2, 1, Lsn{10 * kSize}));
  EXPECT_FALSE(lineage.Holds(2, 1, Lsn{11 * kSize}));
  EXPECT_FALSE(lineage.MayHold(2, 1, Lsn{11 * kSize}));
  EXPECT_FALSE(lineage.Holds(1, 2, Lsn{0}));
}

TEST(Lineage, TwoThatGrowAreBothAlive) {
  const Lineage lineage(kSize, {Trace(1, {}, 40, 5), Trace(2, {LeftAt(1, 10)}, 12, 6)});
  EXPECT_THAT(lineage.alive(), ElementsAre(1, 2));
}

TEST(Lineage, ABranchThatNothingIsAddedToWasAbandoned) {
  EXPECT_THAT(Lineage(kSize, {Trace(1, {}, 40, 5), Trace(2, {LeftAt(1, 10)}, 12, 12)}).alive(),
              ElementsAre(2));
  EXPECT_THAT(Lineage(kSize, {Trace(1, {}, 40, 30), Trace(2, {LeftAt(1, 10)}, 12, 3)}).alive(),
              ElementsAre(1))
      << "the copy that somebody promoted for a day";
}

// The newest segment of all is alive, however old it is.
TEST(Lineage, AnArchiveAtRestIsAlive) {
  EXPECT_THAT(Lineage(kSize, {Trace(1, {}, 40, 1)}).alive(), ElementsAre(1));
}

TEST(Lineage, ATimelineThatHasJustBegunIsAlive) {
  Lineage lineage(kSize,
                  {Trace(1, {}, 9, 1), {2, TimelineHistory{2, {LeftAt(1, 10)}}, std::nullopt, {}}});
  EXPECT_THAT(lineage.alive(), ElementsAre(2));
  // The WAL of an older timeline is gone.
  lineage = Lineage(kSize, {{1, TimelineHistory{}, std::nullopt, {}},
                            {2, TimelineHistory{2, {LeftAt(1, 10)}}, std::nullopt, {}},
                            Trace(3, {LeftAt(1, 10)}, 70, 1)});
  EXPECT_THAT(lineage.alive(), ElementsAre(3));
}

TEST(Lineage, WithoutAHistoryFileThereIsDoubt) {
  const Lineage lineage(kSize, {Trace(1, {}, 9, 1), {2, std::nullopt, 12, Day(2)}});
  EXPECT_THAT(lineage.alive(), ElementsAre(1, 2)) << "nobody knows whether 2 came from 1";
  EXPECT_FALSE(lineage.IsKnown(2));
  EXPECT_FALSE(lineage.Holds(2, 1, Lsn{1}));
  EXPECT_TRUE(lineage.MayHold(2, 1, Lsn{99 * kSize}));
  EXPECT_FALSE(lineage.MayHold(2, 3, Lsn{1}));
  EXPECT_TRUE(lineage.Holds(2, 2, Lsn{1}));
}

class ReadLineageTest : public testing::Test {
 protected:
  void HaveSegment(TimelineId timeline, SegmentNumber segment) const {
    WriteText(
        repository_.PathOf(
            WalObjectName(kTestSystem, SegmentName(timeline, segment, kTestSegmentSize)).value()),
        "segment");
  }
  Lineage Read() const {
    return ReadLineage(*repository_, repository_->IdentityOf(kTestSystem).value()).value();
  }
  TestRepository repository_;
};

TEST_F(ReadLineageTest, AnEmptyArchiveHasNone) {
  EXPECT_THAT(Read().alive(), IsEmpty());
}

TEST_F(ReadLineageTest, ReadsHistories) {
  HaveSegment(1, 9);
  HaveSegment(2, 10);
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/A00100\tno recovery target\n")));
  const Lineage lineage = Read();
  EXPECT_THAT(lineage.alive(), ElementsAre(2));
  EXPECT_TRUE(lineage.IsKnown(2));
}

TEST_F(ReadLineageTest, ADamagedHistoryIsDoubtAndNoError) {
  HaveSegment(1, 9);
  HaveSegment(2, 10);
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, "00000002.history").value()), "damage");
  EXPECT_FALSE(Read().IsKnown(2));
  EXPECT_TRUE(Read().MayHold(2, 1, Lsn{1}));
}

TEST_F(ReadLineageTest, TroubleOfTheStoreIsAnError) {
  HaveSegment(1, 9);
  HaveSegment(2, 10);
  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view) -> Status {
    if (operation == FaultStore::Operation::kGet) {
      return MakeError(ErrorCode::kUnavailable, "the store is away");
    }
    return Ok();
  });
  EXPECT_ERROR(ReadLineage(*repository_, repository_->IdentityOf(kTestSystem).value()),
               ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace veza
