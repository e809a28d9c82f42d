#include "core/restore/choose_timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/repository/made_up_wal.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::HasSubstr;

TimePoint Minute(int minute) {
  return kTestTime + std::chrono::minutes(minute);
}

// Timelines 1 and 2 forked in segment 5, after a backup that needs segments 3 and 4.
class ChooseTimelineTest : public testing::Test {
 protected:
  ChooseTimelineTest() {
    backup_ = TestSummary(*repository_, kTestLabel);
    backup_.stop_time = Minute(0);
    // When the store received everything; no transaction is later.
    repository_.clock().Sleep(std::chrono::hours(1), nullptr);
    MadeUpWal common(5);
    common.Commit(Minute(1));
    fork_ = common.Fill(8);
    history_ = fmt::format("1\t{}\tx\n", FormatLsn(fork_));
    EXPECT_OK(repository_.PushWal("00000002.history", AsBytes(history_)));
  }

  // Segment 5 of a timeline: the part that both share, followed by transactions of these minutes.
  void Have(TimelineId timeline, const std::vector<int>& minutes) {
    MadeUpWal wal(5, timeline);
    wal.Commit(Minute(1));
    for (const int minute : minutes) {
      wal.Commit(Minute(minute));
    }
    Push(timeline, 5, wal);
  }
  void Push(TimelineId timeline, SegmentNumber segment, const MadeUpWal& wal) {
    ASSERT_OK(repository_.PushWal(SegmentName(timeline, segment, kTestSegmentSize), wal.Segment()));
  }
  Result<std::optional<TimelineId>> Find(const RecoveryTarget& target) {
    const TimelineHistory path = ParseTimelineHistory(2, history_).value();
    return FindBranch(repository_.wal(), std::span(&backup_, 1), backup_, path, target);
  }
  // The times that a store gives whose clock is behind the servers'.
  void StoredAt(TimelineId timeline, SegmentNumber segment, TimePoint time) {
    const std::string name =
        WalObjectName(kTestSystem, SegmentName(timeline, segment, kTestSegmentSize)).value();
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    EXPECT_EQ(utimensat(AT_FDCWD, repository_.PathOf(name).c_str(), times, 0), 0) << name;
  }
  // Returns "1", "path" or "refused".
  std::string At(int minute) {
    RecoveryTarget target;
    target.kind = TargetKind::kTime;
    target.time = Minute(minute);
    return Describe(Find(target));
  }
  static std::string Describe(const Result<std::optional<TimelineId>>& found) {
    if (!found) {
      EXPECT_EQ(found.error().code, ErrorCode::kFailedPrecondition);
      EXPECT_THAT(found.error().message, HasSubstr("more than one timeline: 1, 2"));
      EXPECT_THAT(found.error().hint, HasSubstr("--target-timeline"));
      return "refused";
    }
    return *found ? std::to_string(**found) : "path";
  }

  TestRepository repository_;
  BackupSummary backup_;
  std::string history_;
  Lsn fork_;
};

TEST_F(ChooseTimelineTest, WithoutABranchItIsThePath) {
  Have(2, {10, 20});
  EXPECT_EQ(At(5), "path");
  EXPECT_EQ(At(15), "path");
}

TEST_F(ChooseTimelineTest, ATimeThatOneTimelineHolds) {
  Have(1, {3, 7, 30});
  Have(2, {10, 20});
  EXPECT_EQ(At(2), "path") << "before they parted it is the same on both";
  EXPECT_EQ(At(5), "1") << "the path has only what was before they parted, and then goes on later";
  EXPECT_EQ(At(15), "refused") << "both have it";
}

TEST_F(ChooseTimelineTest, ATimeAfterTheEndOfTheBranch) {
  Have(1, {3, 7});
  Have(2, {10, 20});
  EXPECT_EQ(At(5), "1");
  EXPECT_EQ(At(8), "refused") << "neither: the branch ends before, and the path lacks what it has";
  EXPECT_EQ(At(15), "path") << "what a failover has left behind";
}

// The store's time of a segment and the times in its WAL come from different clocks.
TEST_F(ChooseTimelineTest, AStoreWhoseClockIsBehindEndsNoBranch) {
  Have(1, {3, 7, 30});
  Have(2, {4, 20});
  EXPECT_EQ(At(10), "refused") << "both have it";
  StoredAt(1, 5, Minute(-60));
  EXPECT_EQ(At(10), "refused");
  StoredAt(1, 5, Minute(-60 * 24 * 3));
  EXPECT_EQ(At(10), "path") << "it was left days ago, and is not looked into";
}

TEST_F(ChooseTimelineTest, ABranchThatBeginsLaterThanThePath) {
  Have(1, {30, 40});
  Have(2, {10, 20});
  EXPECT_EQ(At(15), "path");
}

TEST_F(ChooseTimelineTest, ThePathHasNothingYet) {
  Have(1, {3, 7, 30});
  EXPECT_EQ(At(5), "1");
}

TEST_F(ChooseTimelineTest, IdleSegmentsAreSkipped) {
  Have(1, {3, 7, 30});
  Have(2, {});
  for (SegmentNumber segment = 6; segment < 10; ++segment) {
    MadeUpWal idle(segment, 2);
    idle.Fill(8);
    Push(2, segment, idle);
  }
  MadeUpWal later(10, 2);
  later.Commit(Minute(10));
  Push(2, 10, later);
  EXPECT_EQ(At(5), "1");
  EXPECT_EQ(At(12), "refused");
}

TEST_F(ChooseTimelineTest, ABranchThatNoBackupLeadsToIsIgnored) {
  Have(1, {3, 7, 30});
  backup_.timeline = 2;
  backup_.start_lsn = Lsn{6 * kTestSegmentSize + 40};
  backup_.stop_lsn = Lsn{6 * kTestSegmentSize + 80};
  EXPECT_EQ(At(5), "path");
}

TEST_F(ChooseTimelineTest, ADamagedHistoryIsAnError) {
  Have(1, {3, 7, 30});
  Have(2, {10, 20});
  EXPECT_OK(repository_.PushWal("00000003.history", AsBytes("nonsense")));
  RecoveryTarget target;
  target.kind = TargetKind::kTime;
  target.time = Minute(5);
  const auto found = Find(target);
  EXPECT_ERROR(found, ErrorCode::kDataCorrupted);
  EXPECT_THAT(found.error().message, HasSubstr("\"00000003.history\" cannot be read"));
  EXPECT_THAT(found.error().hint, HasSubstr("--target-timeline"));
}

// The timeline is older than the oldest backup.
TEST_F(ChooseTimelineTest, AHistoryToWhichNoBackupLeadsIsNotNeeded) {
  Have(1, {3, 7, 30});
  Have(2, {10, 20});
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, "00000002.history").value()), "damaged");
  EXPECT_OK(repository_.PushWal("00000003.history", AsBytes(history_)));
  backup_.timeline = 3;
  const TimelineHistory path = ParseTimelineHistory(3, history_).value();
  RecoveryTarget target;
  target.kind = TargetKind::kTime;
  target.time = Minute(5);
  EXPECT_EQ(Describe(FindBranch(repository_.wal(), std::span(&backup_, 1), backup_, path, target)),
            "path");
}

TEST_F(ChooseTimelineTest, AnLsn) {
  Have(1, {3});
  MadeUpWal more(6, 1);
  more.Commit(Minute(4));
  Push(1, 6, more);
  Have(2, {10});
  RecoveryTarget target;
  target.kind = TargetKind::kLsn;
  target.lsn = fork_;
  EXPECT_EQ(Describe(Find(target)), "path");
  target.lsn = Lsn{6 * kTestSegmentSize - 8};
  EXPECT_EQ(Describe(Find(target)), "refused");
  target.lsn = Lsn{6 * kTestSegmentSize + 8};
  EXPECT_EQ(Describe(Find(target)), "1");
  target.lsn = Lsn{8 * kTestSegmentSize};
  EXPECT_EQ(Describe(Find(target)), "path") << "neither has it, as the server will say";
}

TEST_F(ChooseTimelineTest, OtherTargetsChooseNoBranch) {
  Have(1, {3, 7, 30});
  EXPECT_EQ(Describe(Find({})), "path");
  EXPECT_EQ(Describe(Find({.kind = TargetKind::kXid, .xid = 1000})), "path");
}

}  // namespace
}  // namespace veza
