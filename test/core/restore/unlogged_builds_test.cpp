#include "core/restore/unlogged_builds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "core/repository/names.h"
#include "core/restore/test_restore.h"
#include "core/timeline/story.h"
#include "core/wal_index/index_catalog.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Lsn kNoEnd{std::numeric_limits<std::uint64_t>::max()};

RelationFile File(std::uint32_t number) {
  return {1663, 5, number};
}

// Recovery from a backup from segment 3 to 4, with and without an index of the WAL.
class UnloggedBuildsTest : public testing::TestWithParam<bool> {
 protected:
  UnloggedBuildsTest() : backup_(TestSummary(*repository_, kTestLabel)) {}

  void Archive() {
    story_.Archive(repository_);
    if (GetParam()) {
      story_.Index(repository_, 2);
    }
  }
  Result<UnloggedBuilds> Find(Lsn before = kNoEnd,
                              std::size_t most_read = kMostReadForUnlogged) const {
    const SegmentNumber last = story_.last();
    return FindUnloggedBuilds(*repository_, TestIdentity(), backup_,
                              {{1, 3, last, Lsn{(last + 1) * kTestSegmentSize}}}, before,
                              most_read);
  }
  std::string WalObject(SegmentNumber segment) const {
    return WalObjectName(kTestSystem, story_.Name(segment)).value();
  }

  TestRepository repository_;
  BackupSummary backup_;
  Story story_{3};
};

INSTANTIATE_TEST_SUITE_P(WithoutAndWithIndex, UnloggedBuildsTest, testing::Bool());

TEST_P(UnloggedBuildsTest, AreRelationsWhoseInitForkIsCreatedBehindTheStartOfTheBackup) {
  story_.Create(701, File(100), kInitFork);
  backup_.start_lsn = story_.next();
  story_.Create(702, File(101), kInitFork);
  story_.Create(702, File(102), kMainFork);
  for (int segment = 0; segment < 4; ++segment) {
    story_.NextSegment();
  }
  story_.Create(703, {1700, 6, 103}, kInitFork);
  Archive();
  const Result<UnloggedBuilds> found = Find();
  ASSERT_OK(found);
  EXPECT_THAT(found->relations, ElementsAre(File(101), RelationFile{1700, 6, 103}));
  EXPECT_EQ(found->unread, 0U);
}

TEST_P(UnloggedBuildsTest, NothingCountsBehindTheEndOfRecovery) {
  story_.Create(701, File(101), kInitFork);
  story_.NextSegment();
  story_.Create(701, File(102), kInitFork);
  const Lsn last = story_.Create(701, File(103), kInitFork);
  story_.NextSegment();
  story_.Create(701, File(104), kInitFork);
  Archive();
  EXPECT_THAT(Find(last)->relations, ElementsAre(File(101), File(102)));
  EXPECT_THAT(Find(Lsn{last.value + 1})->relations, ElementsAre(File(101), File(102), File(103)));
}

TEST_P(UnloggedBuildsTest, ARecordAcrossABorderCounts) {
  story_.Create(701, File(101), kMainFork);
  story_.FillToTheBorder(32);
  story_.Create(701, File(101), kInitFork);
  ASSERT_EQ(story_.last(), 4U);
  Archive();
  EXPECT_THAT(Find()->relations, ElementsAre(File(101)));
}

// The backup may have the relation that was dropped, and recovery may end before it is.
TEST_P(UnloggedBuildsTest, ANumberThatIsUsedAgainIsNotThatOfTheFileInTheBackup) {
  story_.CommitDropping(701, File(101), 1);
  story_.DropDatabase(7, 1663);
  story_.NextSegment();
  for (const RelationFile& file : {File(101), File(102), RelationFile{1663, 7, 103}}) {
    story_.Create(702, file, kInitFork);
  }
  story_.CommitDropping(703, File(102), 2);
  Archive();
  EXPECT_THAT(Find()->relations, ElementsAre(File(102)));
}

TEST_P(UnloggedBuildsTest, WalThatCannotBeReadIsTold) {
  for (std::uint32_t segment = 3; segment <= 7; ++segment) {
    story_.Create(701, File(segment), kInitFork);
    story_.NextSegment();
  }
  Archive();
  FlipByte(repository_.PathOf(WalObject(4)), 100);
  std::filesystem::remove(repository_.PathOf(WalObject(5)));
  const Result<UnloggedBuilds> found = Find();
  ASSERT_OK(found);
  // An index still tells what was in a segment that is damaged.
  if (GetParam()) {
    EXPECT_THAT(found->relations, ElementsAre(File(3), File(4), File(6), File(7)));
  } else {
    EXPECT_THAT(found->relations, ElementsAre(File(3), File(6), File(7)));
  }
  EXPECT_EQ(found->unread, GetParam() ? 1U : 2U);
  EXPECT_EQ(found->unread_from, (Lsn{(GetParam() ? 5 : 4) * kTestSegmentSize}));
  EXPECT_EQ(found->unread_to, Lsn{6 * kTestSegmentSize});
}

// The record on the border needs both segments, the others only their own.
TEST_P(UnloggedBuildsTest, ASegmentCountsWithoutTheOneBehindIt) {
  story_.Create(701, File(101), kInitFork);
  story_.FillToTheBorder(32);
  story_.Create(701, File(102), kInitFork);
  ASSERT_EQ(story_.last(), 4U);
  story_.NextSegment();
  story_.Create(701, File(103), kInitFork);
  Archive();
  std::filesystem::remove(repository_.PathOf(WalObject(4)));
  Result<UnloggedBuilds> found = Find();
  ASSERT_OK(found);
  EXPECT_THAT(found->relations, ElementsAre(File(101), File(103)));
  EXPECT_EQ(found->unread, 1U);
  EXPECT_EQ(found->unread_from, Lsn{4 * kTestSegmentSize});
  EXPECT_EQ(found->unread_to, Lsn{5 * kTestSegmentSize});

  // A search that ends on the border says that it does not know the record.
  found = Find(Lsn{4 * kTestSegmentSize});
  ASSERT_OK(found);
  EXPECT_THAT(found->relations, ElementsAre(File(101)));
  EXPECT_EQ(found->unread, 1U);
  EXPECT_EQ(found->unread_from, Lsn{3 * kTestSegmentSize});
  EXPECT_EQ(Find(Lsn{4 * kTestSegmentSize - 32})->unread, 0U) << "the record is not read";

  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kGet && name.ends_with("04")
               ? Status(MakeError(ErrorCode::kUnavailable, "no answer"))
               : Ok();
  });
  EXPECT_ERROR(Find(Lsn{4 * kTestSegmentSize}), ErrorCode::kUnavailable);
}

// Otherwise each restore of a cluster with such an extension would warn.
TEST_P(UnloggedBuildsTest, RecordsOfAnExtensionAreNoDoubt) {
  // No segment ends with a switch, which is an event.
  story_.Create(701, File(101), kInitFork);
  for (int segment = 4; segment <= 5; ++segment) {
    story_.FillToTheBorder(0);
    story_.SayOfExtension();
  }
  story_.FillToTheBorder(0);
  story_.SayUnknown();
  story_.FillToTheBorder(0);
  story_.Create(701, File(102), kInitFork);
  Archive();
  const Result<UnloggedBuilds> found = Find();
  ASSERT_OK(found);
  EXPECT_THAT(found->relations, ElementsAre(File(101), File(102)));
  EXPECT_EQ(found->unread, 1U);
  EXPECT_EQ(found->unread_from, Lsn{6 * kTestSegmentSize});
}

TEST_P(UnloggedBuildsTest, AStoreThatDoesNotAnswerIsAnError) {
  story_.Create(701, File(101), kInitFork);
  Archive();
  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view) {
    return operation == FaultStore::Operation::kGet
               ? Status(MakeError(ErrorCode::kUnavailable, "no answer"))
               : Ok();
  });
  EXPECT_ERROR(Find(), ErrorCode::kUnavailable);
}

TEST_P(UnloggedBuildsTest, RecoveryDoesNotGoBeyondTheEndOfWal) {
  story_.Create(701, File(101), kInitFork);
  story_.CutHere();
  story_.NextSegment();
  story_.Create(701, File(102), kInitFork);
  Archive();
  const Result<UnloggedBuilds> found = Find();
  ASSERT_OK(found);
  EXPECT_THAT(found->relations, ElementsAre(File(101)));
  EXPECT_EQ(found->unread, 0U);
}

TEST_P(UnloggedBuildsTest, OnlySoManySegmentsWithoutAnIndexAreRead) {
  for (std::uint32_t segment = 3; segment <= 7; ++segment) {
    story_.Create(701, File(segment), kInitFork);
    story_.NextSegment();
  }
  Archive();
  const Result<UnloggedBuilds> found = Find(kNoEnd, 3);
  ASSERT_OK(found);
  EXPECT_EQ(found->relations.size(), GetParam() ? 5U : 3U);
  EXPECT_EQ(found->unread, GetParam() ? 0U : 2U);
  EXPECT_EQ(found->unread_from, (GetParam() ? Lsn{} : Lsn{6 * kTestSegmentSize}));
  EXPECT_EQ(found->unread_to, (GetParam() ? Lsn{} : Lsn{8 * kTestSegmentSize}));
}

TEST(UnloggedBuildFilesTest, AllFilesButTheInitForkAreLeftOut) {
  const UnloggedBuilds builds{.relations = {File(25205), {16400, 5, 77}, {1664, 0, 88}}};
  for (const char* path :
       {"base/5/25205", "base/5/25205.1", "base/5/25205_fsm", "base/5/25205_vm.2",
        "pg_tblspc/16400/PG_15_202209061/5/77", "global/88"}) {
    EXPECT_TRUE(builds.LeavesOut(path)) << path;
  }
  for (const char* path :
       {"base/5/25205_init", "base/5/25206", "base/6/25205", "base/5/2520", "base/5/025205",
        "pg_tblspc/16401/PG_15_202209061/5/77", "base/5/t3_25205", "global/25205", "25205",
        "base/5/25205.partial", "pg_wal/25205"}) {
    EXPECT_FALSE(builds.LeavesOut(path)) << path;
  }
  EXPECT_FALSE(UnloggedBuilds().LeavesOut("base/5/25205"));
}

class RestoreOfUnloggedTest : public testing::Test {
 protected:
  RestoreOfUnloggedTest() {
    for (const char* path : kLeftOut) {
      fixture_.source.File(path, NoiseBytes(2'000'000));
    }
    fixture_.source.File("base/5/25206", NoiseBytes(2'000'000, 2));
    const auto summary = fixture_.Backup();
    EXPECT_OK(summary);
    backup_ = *summary;
  }

  // In the place of the zeros.
  void Archive(const Story& story) const {
    for (const SegmentNumber segment : {3, 4}) {
      std::filesystem::remove(
          fixture_.repository.PathOf(WalObjectName(kTestSystem, story.Name(segment)).value()));
    }
    story.Archive(fixture_.repository);
    story.Index(fixture_.repository);
  }
  static Story ToTheEndOfTheBackup() {
    Story story(3);
    story.NextSegment();
    while (story.position() < kTestStopLsn) {
      story.Say();
    }
    return story;
  }
  bool Has(const char* path) const {
    return std::filesystem::exists(fixture_.Target() + "/" + path);
  }
  void ExpectLeftOut(const RestoreReport& report) const {
    for (const char* path : kLeftOut) {
      EXPECT_FALSE(Has(path)) << path;
    }
    EXPECT_TRUE(Has("base/5/25206"));
    EXPECT_EQ(report.files_left_out, std::size(kLeftOut));
    EXPECT_EQ(report.files, backup_.files - std::size(kLeftOut));
  }

  static constexpr const char* kLeftOut[] = {"base/5/25205", "base/5/25205.1", "base/5/25205_fsm"};
  RestoreFixture fixture_{Cipher::kNone};
  BackupSummary backup_;
};

TEST_F(RestoreOfUnloggedTest, LeavesOutWhatIsInTheWayOfTheInitFork) {
  Story story = ToTheEndOfTheBackup();
  story.Create(701, File(25205), kInitFork);
  Archive(story);
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  RestoreProgress progress;
  const auto report = ExecuteRestore(*fixture_.repository, *plan, progress);
  ASSERT_OK(report);
  ExpectLeftOut(*report);
  EXPECT_EQ(progress.bytes_total, progress.bytes_done);
  EXPECT_EQ(report->bytes, backup_.size - 3 * 2'000'000U);
}

TEST_F(RestoreOfUnloggedTest, ADeltaRemovesThem) {
  ASSERT_OK(fixture_.Restore());
  for (const char* path : kLeftOut) {
    EXPECT_TRUE(Has(path)) << "no WAL says anything about it";
  }
  Story story = ToTheEndOfTheBackup();
  story.Create(701, File(25205), kInitFork);
  Archive(story);
  RestoreOptions options = fixture_.Options();
  options.delta = true;
  const auto report = fixture_.Restore(options);
  ASSERT_OK(report);
  ExpectLeftOut(*report);
}

TEST_F(RestoreOfUnloggedTest, ATargetBeforeItsInitForkKeepsTheFiles) {
  Story story = ToTheEndOfTheBackup();
  story.RestorePoint("before", 1);
  story.Create(701, File(25205), kInitFork);
  story.RestorePoint("behind", 2);
  Archive(story);
  RestoreOptions options = fixture_.Options();
  options.target = {.kind = TargetKind::kName, .name = "before"};
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_TRUE(Has("base/5/25205"));
  options.delta = true;
  options.target.name = "behind";
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_FALSE(Has("base/5/25205"));
}

TEST_F(RestoreOfUnloggedTest, ImmediateLooksUpToTheEndOfTheBackup) {
  Story story = ToTheEndOfTheBackup();
  story.Create(701, File(25205), kInitFork);
  Archive(story);
  RestoreOptions options = fixture_.Options();
  options.target = {.kind = TargetKind::kImmediate};
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_TRUE(Has("base/5/25205"));
}

}  // namespace
}  // namespace veza
