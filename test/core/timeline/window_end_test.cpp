#include "core/timeline/window_end.h"

#include <gtest/gtest.h>

#include "core/repository/test_backup.h"
#include "core/timeline/story.h"

namespace veza {
namespace {

class WindowEndTest : public testing::TestWithParam<bool> {
 protected:
  void Archive(const Story& story) {
    story.Archive(repository_);
    if (GetParam()) {
      story.Index(repository_);
    }
  }
  RecoveryStretch Find() {
    BackupCatalog catalog;
    catalog.backups.push_back(TestSummary(*repository_, kTestLabel));
    if (newer_) {
      catalog.backups.push_back(*newer_);
    }
    const ArchiveMap map(kTestSegmentSize, repository_.wal().Ranges(kTestSegmentSize).value(), {});
    RecoveryWindow window = PlanRecoveryWindow(catalog.backups, map, {});
    EXPECT_OK(
        FindWindowEnds(*repository_, kTestSystem, catalog, map, &window, 16 * kTestSegmentSize));
    return window.stretches.at(0);
  }
  // WAL from the start to the end of the backup.
  Story Beginning() {
    Story story(3);
    story.NextSegment();
    while (story.position() < kTestStopLsn) {
      story.Say();
    }
    return story;
  }

  // Makes another backup that begins and ends where the story is.
  void BackUp(Story& story) {
    newer_ = TestSummary(*repository_, "20270101-020000F");
    newer_->start_lsn = story.Say();
    newer_->stop_lsn = story.Say();
    const auto name = [](Lsn lsn) {
      return SegmentName(1, SegmentOf(lsn, kTestSegmentSize), kTestSegmentSize);
    };
    newer_->start_wal = name(newer_->start_lsn);
    newer_->stop_wal = name(newer_->stop_lsn);
  }

  TestRepository repository_;
  std::optional<BackupSummary> newer_;
};

INSTANTIATE_TEST_SUITE_P(WithoutAndWithIndex, WindowEndTest, testing::Bool());

TEST_P(WindowEndTest, ItIsTheLastCommit) {
  Story story = Beginning();
  story.Commit(701, 30);
  const Lsn last = story.Commit(702, 20);
  story.Abort(703, 40);
  for (int i = 0; i < 20; ++i) {
    story.NextSegment();
    story.Say();
  }
  Archive(story);
  const RecoveryStretch stretch = Find();
  if (!GetParam()) {
    EXPECT_FALSE(stretch.end_is_exact) << "so many segments are not read";
    return;
  }
  EXPECT_TRUE(stretch.end_is_exact);
  EXPECT_EQ(stretch.end_time, Story::Minute(20));
  ASSERT_TRUE(stretch.last_commit);
  EXPECT_EQ(stretch.last_commit->lsn, last);
  EXPECT_EQ(stretch.last_commit->xid, 702U);
}

TEST_P(WindowEndTest, WithoutACommitItIsTheEndOfTheBackup) {
  Archive(Beginning());
  const RecoveryStretch stretch = Find();
  EXPECT_TRUE(stretch.end_is_exact);
  EXPECT_EQ(stretch.end_time, stretch.start_time);
  EXPECT_FALSE(stretch.last_commit);
}

// Recovery ends where WAL cannot be read on.
TEST_P(WindowEndTest, ACommitBehindASegmentInWhichWalEndsDoesNotCount) {
  Story story = Beginning();
  story.Commit(701, 30);
  story.CutHere();
  story.NextSegment();
  story.Commit(702, 40);
  Archive(story);
  const RecoveryStretch stretch = Find();
  ASSERT_TRUE(stretch.last_commit);
  EXPECT_EQ(stretch.last_commit->xid, GetParam() ? 701U : 702U) << "only an index tells of it";
}

TEST_P(WindowEndTest, WhatIsBeforeTheNewestBackupIsNotLookedAt) {
  Story story = Beginning();
  story.Commit(701, 30);
  story.CutHere();
  story.NextSegment();
  BackUp(story);
  story.Commit(702, 40);
  Archive(story);
  const RecoveryStretch stretch = Find();
  EXPECT_EQ(stretch.backups, 2U);
  ASSERT_TRUE(stretch.last_commit);
  EXPECT_EQ(stretch.last_commit->xid, 702U);
}

TEST_P(WindowEndTest, TheLastCommitMayBeBeforeTheNewestBackup) {
  Story story = Beginning();
  story.Commit(701, 30);
  story.NextSegment();
  BackUp(story);
  Archive(story);
  const RecoveryStretch stretch = Find();
  ASSERT_TRUE(stretch.last_commit);
  EXPECT_EQ(stretch.last_commit->xid, 701U);
}

TEST_P(WindowEndTest, ADamagedSegmentLeavesTheUpperBound) {
  Story story = Beginning();
  story.NextSegment();
  story.Commit(701, 30);
  Archive(story);
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, story.Name(story.last())).value()), "x");
  const RecoveryStretch stretch = Find();
  EXPECT_FALSE(stretch.end_is_exact);
  EXPECT_NE(stretch.end_time, stretch.start_time);
}

}  // namespace
}  // namespace veza
