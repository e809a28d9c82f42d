#include "core/restore/ending.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/archive/gap_record.h"
#include "core/repository/names.h"
#include "core/repository/test_backup.h"
#include "core/restore/plan.h"
#include "core/restore/target_time.h"
#include "core/timeline/story.h"
#include "core/wal_index/index_catalog.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t kNone = 0;

// A backup from segment 3 to 4, with and without an index of the WAL.
class EndingTest : public testing::TestWithParam<bool> {
 protected:
  EndingTest() : backup_(TestSummary(*repository_, kTestLabel)) {
    story_.NextSegment();
    while (story_.position() < backup_.stop_lsn) {
      story_.Say();
    }
  }

  void Archive() { Archive(story_); }
  void Archive(const Story& story) {
    story.Archive(repository_);
    if (GetParam()) {
      story.Index(repository_);
    }
    last_ = story.last();
  }
  std::vector<WalPiece> Pieces() const {
    return {{1, 3, last_, Lsn{(last_ + 1) * kTestSegmentSize}}};
  }
  Ending Find(const RecoveryTarget& target) {
    const Result<Ending> ending =
        FindEnding(*repository_, TestIdentity(), backup_, Pieces(), target);
    EXPECT_OK(ending);
    EXPECT_EQ(ending->unknown, "");
    return *ending;
  }
  static std::string Describe(const Ending& ending) {
    const auto xid = [](const std::optional<IndexedEnd>& end) { return end ? end->xid : kNone; };
    return fmt::format("{}{} in, {} out", ending.reached ? "" : "not reached, ",
                       xid(ending.last_in), xid(ending.first_out));
  }
  std::string AtTime(int minute, bool inclusive = true) {
    return Describe(
        Find({.kind = TargetKind::kTime, .time = Story::Minute(minute), .inclusive = inclusive}));
  }
  std::string AtXid(std::uint64_t xid, bool inclusive = true) {
    return Describe(Find({.kind = TargetKind::kXid, .xid = xid, .inclusive = inclusive}));
  }
  std::string AtLsn(Lsn lsn, bool inclusive = true) {
    return Describe(Find({.kind = TargetKind::kLsn, .lsn = lsn, .inclusive = inclusive}));
  }
  std::string AtName(const std::string& name) {
    return Describe(Find({.kind = TargetKind::kName, .name = name}));
  }

  TestRepository repository_;
  BackupSummary backup_;
  Story story_{3};
  SegmentNumber last_ = 0;
};

INSTANTIATE_TEST_SUITE_P(WithoutAndWithIndex, EndingTest, testing::Bool());

TEST_P(EndingTest, ATimeStopsBeforeTheFirstEndThatIsLaterInTheOrderOfWal) {
  story_.Commit(701, 10);
  story_.NextSegment();
  story_.Commit(702, 20);
  story_.Commit(703, 15);  // its clock was read before that of 702
  story_.NextSegment();
  story_.NextSegment();
  story_.Abort(704, 40);
  story_.Commit(705, 30);
  story_.Commit(706, 50);
  Archive();
  EXPECT_EQ(AtTime(10), "701 in, 702 out");
  EXPECT_EQ(AtTime(10, false), "0 in, 701 out");
  EXPECT_EQ(AtTime(17), "701 in, 702 out") << "703 was earlier and is out all the same";
  EXPECT_EQ(AtTime(20), "703 in, 705 out");
  EXPECT_EQ(AtTime(35), "703 in, 705 out") << "recovery stops at an abort, too";
  EXPECT_EQ(AtTime(40), "705 in, 706 out");
  EXPECT_EQ(AtTime(50), "not reached, 706 in, 0 out");
  EXPECT_EQ(AtTime(50, false), "705 in, 706 out");
  EXPECT_EQ(AtTime(99), "not reached, 706 in, 0 out");
  EXPECT_EQ(Describe(Find({})), "706 in, 0 out");
  const Ending ending = Find({.kind = TargetKind::kTime, .time = Story::Minute(35)});
  ASSERT_TRUE(ending.stop.end);
  EXPECT_EQ(ending.stop.end->xid, 704U);
  EXPECT_FALSE(ending.stop.end->committed);
  EXPECT_EQ(ending.last_in->time, Story::Minute(15));
}

TEST_P(EndingTest, AnAbortBehindTheLastCommitCanBeATime) {
  story_.Commit(701, 10);
  story_.Abort(702, 20);
  Archive();
  EXPECT_EQ(AtTime(15), "701 in, 0 out");
  EXPECT_EQ(AtTime(20), "not reached, 701 in, 0 out");
}

TEST_P(EndingTest, AnXidIsThatOfTheRecordAlsoOfAPreparedTransaction) {
  story_.Commit(701, 10);
  story_.CommitWith(702, 703, 20);
  story_.NextSegment();
  story_.CommitPrepared(690, 30);
  story_.Abort(704, 40);
  story_.Commit(705, 50);
  Archive();
  EXPECT_EQ(AtXid(701), "701 in, 702 out");
  EXPECT_EQ(AtXid(701, false), "0 in, 701 out");
  EXPECT_EQ(AtXid(690), "690 in, 705 out");
  EXPECT_EQ(AtXid(690, false), "702 in, 690 out");
  EXPECT_EQ(AtXid(704), "690 in, 705 out");
  EXPECT_EQ(AtXid(703), "not reached, 705 in, 0 out") << "a subtransaction";
  EXPECT_EQ(AtXid((std::uint64_t{7} << 32) + 702), "702 in, 690 out");
}

TEST_P(EndingTest, AnLsnStopsAtTheFirstRecordThatIsNotBeforeIt) {
  const Lsn first = story_.Commit(701, 10);
  story_.Say();
  const Lsn second = story_.Commit(702, 20);
  story_.NextSegment();
  const Lsn third = story_.Commit(703, 30);
  Archive();
  EXPECT_EQ(AtLsn(first), "701 in, 702 out");
  EXPECT_EQ(AtLsn(first, false), "0 in, 701 out");
  EXPECT_EQ(AtLsn(Lsn{first.value + 1}), "701 in, 702 out") << "a record is between them";
  EXPECT_EQ(AtLsn(Lsn{second.value - 1}), "702 in, 703 out") << "the next one is the commit";
  EXPECT_EQ(AtLsn(Lsn{second.value - 1}, false), "701 in, 702 out");
  EXPECT_EQ(AtLsn(third), "703 in, 0 out");
  EXPECT_EQ(AtLsn(Lsn{third.value + 1}), "not reached, 703 in, 0 out");
}

TEST_P(EndingTest, ANameStopsAtTheFirstRestorePointOfThatName) {
  story_.Commit(701, 10);
  story_.RestorePoint("before", 11);
  story_.Commit(702, 20);
  story_.NextSegment();
  story_.RestorePoint("other", 21);
  story_.RestorePoint("before", 22);
  story_.Commit(703, 30);
  Archive();
  EXPECT_EQ(AtName("before"), "701 in, 702 out");
  EXPECT_EQ(AtName("other"), "702 in, 703 out");
  EXPECT_EQ(AtName("befor"), "not reached, 703 in, 0 out");
}

TEST_P(EndingTest, ImmediateEndsWithTheBackup) {
  story_.Commit(701, 10);
  Archive();
  EXPECT_EQ(Describe(Find({.kind = TargetKind::kImmediate})), "0 in, 701 out");
}

TEST_P(EndingTest, WhatStopsRecoveryBeforeTheBackupIsConsistentIsSaid) {
  Story early(3);
  early.Commit(699, 90);  // by a clock that was wrong
  early.RestorePoint("early", 1);
  early.NextSegment();
  while (early.position() < backup_.stop_lsn) {
    early.Say();
  }
  early.Commit(701, 10);
  Archive(early);
  EXPECT_TRUE(Find({.kind = TargetKind::kName, .name = "early"}).before_consistent);
  EXPECT_TRUE(Find({.kind = TargetKind::kTime, .time = Story::Minute(50)}).before_consistent);
  EXPECT_FALSE(Find({.kind = TargetKind::kXid, .xid = 701}).before_consistent);
}

// A standby's backup ends with any record. When that one is replayed, the backup is consistent.
TEST_P(EndingTest, ABackupIsConsistentWhenTheRecordThatEndsThereIsReplayed) {
  const Lsn commit = story_.Commit(701, 10);
  backup_.stop_lsn = story_.position();
  story_.Commit(702, 20);
  Archive();
  const RecoveryTarget target{.kind = TargetKind::kXid, .xid = 701};
  EXPECT_FALSE(Find(target).before_consistent);
  EXPECT_TRUE(Find({.kind = TargetKind::kXid, .xid = 701, .inclusive = false}).before_consistent);
  WalWay way = WalWay::Open(*repository_, TestIdentity(), Pieces(), {}).value();
  const BackupSummary* const backups[] = {&backup_};
  const std::optional<Lsn> place = FindTarget(way, backups, target).value();
  ASSERT_TRUE(place);
  EXPECT_GT(*place, commit);
  EXPECT_GE(*place, backup_.stop_lsn) << "so this backup leads there";
}

// Recovery ends where WAL cannot be read on. An index tells that of segments in the middle.
TEST_P(EndingTest, NothingIsReachedBehindASegmentInWhichWalEnds) {
  story_.Commit(701, 10);
  story_.CutHere();
  const Lsn end = story_.next();
  story_.NextSegment();
  const Lsn behind = story_.Commit(702, 20);
  Archive();
  EXPECT_EQ(AtTime(15), "not reached, 701 in, 0 out") << "a time looks at all segments";
  if (!GetParam()) {
    return;
  }
  EXPECT_EQ(AtLsn(behind), "not reached, 701 in, 0 out");
  EXPECT_EQ(Describe(Find({})), "701 in, 0 out");
  const Ending ending = Find({.kind = TargetKind::kLsn, .lsn = behind});
  EXPECT_EQ(ending.end_of_wal, end);
}

// The commit begins in one segment and ends in the next one.
TEST_P(EndingTest, ACommitOnTheBorderCountsOnce) {
  story_.Commit(701, 10);
  story_.FillToTheBorder(24);
  const Lsn border = story_.Commit(702, 20);
  ASSERT_EQ(border.value / kTestSegmentSize, 4U);
  ASSERT_EQ(story_.position().value / kTestSegmentSize, 5U);
  story_.Commit(703, 30);
  Archive();
  EXPECT_EQ(AtTime(15), "701 in, 702 out");
  EXPECT_EQ(AtTime(25), "702 in, 703 out");
  EXPECT_EQ(AtXid(702), "702 in, 703 out");
  EXPECT_EQ(AtLsn(border), "702 in, 703 out");
  EXPECT_EQ(AtLsn(border, false), "701 in, 702 out");
  const Ending cut =
      FindEnding(*repository_, TestIdentity(), backup_, {{1, 3, 4, Lsn{5 * kTestSegmentSize}}}, {})
          .value();
  EXPECT_EQ(Describe(cut), "701 in, 0 out") << "the rest of its record is not there";
}

TEST_P(EndingTest, WalBehindTheSwitchOfTimelineDoesNotCount) {
  story_.Commit(701, 10);
  const Lsn fork = story_.position();
  story_.Commit(702, 20);
  Archive();
  const auto pieces = [&](Lsn end) { return std::vector<WalPiece>{{1, 3, 4, end}}; };
  EXPECT_EQ(Describe(FindEnding(*repository_, TestIdentity(), backup_, pieces(fork), {}).value()),
            "701 in, 0 out");
  EXPECT_EQ(Describe(FindEnding(*repository_, TestIdentity(), backup_,
                                pieces(Lsn{5 * kTestSegmentSize}), {})
                         .value()),
            "702 in, 0 out");
}

TEST_P(EndingTest, WalThatCannotBeReadIsUnknown) {
  story_.Commit(701, 10);
  story_.NextSegment();
  story_.Commit(702, 20);
  Archive();
  const std::string object = WalObjectName(kTestSystem, story_.Name(5)).value();
  WriteText(repository_.PathOf(object), "damaged");
  const Ending ending = FindEnding(*repository_, TestIdentity(), backup_, Pieces(), {}).value();
  EXPECT_THAT(ending.unknown, HasSubstr(story_.Name(5)));
  EXPECT_EQ(AtTime(5), "0 in, 701 out") << "recovery ends before it";
}

// An index is derived: the stored size shows that the WAL is another one.
TEST_P(EndingTest, AnIndexOfOtherWalDoesNotCount) {
  Story other = story_;
  story_.Commit(701, 10);
  Archive();
  for (std::uint32_t block = 0; block < 1000; ++block) {
    other.Touch(801, 16384, block * 7);
  }
  other.Commit(801, 10);
  const std::string object = WalObjectName(kTestSystem, story_.Name(4)).value();
  ASSERT_TRUE(std::filesystem::remove(repository_.PathOf(object)));
  ASSERT_OK(repository_.PushWal(other.Name(4), other.Segment(4)));
  EXPECT_EQ(AtTime(5), "0 in, 801 out");
}

// Its directory can be read, and its last part cannot.
TEST_P(EndingTest, ADamagedIndexIsNotNeeded) {
  story_.Commit(701, 10);
  story_.RestorePoint("here", 11);
  story_.Commit(702, 20);
  Archive();
  const std::vector<IndexName> indexes = ListIndexes(*repository_, kTestSystem).value();
  EXPECT_EQ(indexes.size(), GetParam() ? 1U : 0U);
  for (const IndexName& index : indexes) {
    const std::string path = repository_.PathOf(index.name);
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 40);
  }
  EXPECT_EQ(AtTime(15), "701 in, 702 out");
  EXPECT_EQ(AtName("here"), "701 in, 702 out");
}

// Anybody who can write to the store can put these there.
TEST_P(EndingTest, ForeignObjectsAreNotInTheWay) {
  story_.Commit(701, 10);
  story_.Commit(702, 20);
  Archive();
  const std::string name =
      fmt::format("{}{}-{}-1-ffffffffffffffff", IndexTimelinePrefix(kTestSystem, 1), story_.Name(3),
                  story_.Name(60));
  const std::string header = std::string("VEZABKUP") + std::string("\1\0\2\1\1\0\0\0", 8);
  for (const std::string& content :
       {header + std::string(48, 'k'),
        std::string("VEZABKUP\1\0\2\0\1\0\0\0", 16) + std::string(48, '\0'), std::string()}) {
    WriteText(repository_.PathOf(name), content);
    EXPECT_EQ(AtTime(15), "701 in, 702 out");
  }
  repository_.store().SetHook([](FaultStore::Operation, std::string_view object) -> Status {
    return object.starts_with("walindex/") ? MakeError(ErrorCode::kPermissionDenied, "403") : Ok();
  });
  EXPECT_EQ(AtTime(15), "701 in, 702 out") << "a policy may not know them";
}

// A long commit goes on in the next segment, and less of it is kept than it has.
TEST_P(EndingTest, APreparedTransactionThatIsNotKnownMayBeTheTarget) {
  story_.Commit(701, 10);
  story_.FillToTheBorder(100);
  story_.CommitPrepared(690, 20, 3000);
  story_.Commit(702, 30);
  Archive();
  const Ending ending = FindEnding(*repository_, TestIdentity(), backup_, Pieces(),
                                   {.kind = TargetKind::kXid, .xid = 690})
                            .value();
  EXPECT_THAT(ending.unknown, HasSubstr("which prepared transaction"));
}

// --- The backup for a name or an xid -------------------------------------------------------------

class TargetPlanTest : public EndingTest {
 protected:
  TargetPlanTest() {
    options_.target_directory = work_.path() + "/restored";
    options_.restore_command = "/bin/false %f %p";
  }
  void Have(BackupSummary backup) {
    WriteText(repository_.PathOf(ManifestName(backup.label)), "manifest");
    backup.manifest_size = 8;
    WriteText(repository_.PathOf(BackupDocumentName(backup.label)),
              SerializeSummary(backup, repository_->seal_policy()).value());
  }
  // The backup and the archive, whose WAL is of wal_level = minimal from `minimal` on.
  void HaveWithMinimalFrom(Lsn minimal) {
    Archive();
    ASSERT_OK(RecordMinimal(*repository_, kTestSystem,
                            story_.Name(SegmentOf(minimal, kTestSegmentSize)), minimal));
    Have(backup_);
  }
  // A backup that begins and ends here.
  BackupSummary BackUpHere(const std::string& label) {
    BackupSummary backup = TestSummary(*repository_, label);
    story_.NextSegment();
    backup.start_lsn = story_.Say();
    backup.stop_lsn = Lsn{story_.Say().value + 8};
    const SegmentNumber segment = SegmentOf(backup.start_lsn, kTestSegmentSize);
    backup.start_wal = story_.Name(segment);
    backup.stop_wal = story_.Name(segment);
    backup.stop_time = backup.start_time = Story::Minute(60);
    return backup;
  }
  Result<RestorePlan> Plan(const RecoveryTarget& target) {
    options_.target = target;
    return PlanRestore(*repository_, options_);
  }
  std::string ChosenFor(const RecoveryTarget& target) {
    const Result<RestorePlan> plan = Plan(target);
    EXPECT_OK(plan);
    return plan ? plan->backup.label : "";
  }

  TemporaryDirectory work_;
  RestoreOptions options_;
};

INSTANTIATE_TEST_SUITE_P(WithoutAndWithIndex, TargetPlanTest, testing::Bool());

TEST_P(TargetPlanTest, TheNewestBackupFromWhichANameOrAnXidCanBeReached) {
  const std::string newer = "20361122-020000F";
  story_.Commit(701, 10);
  story_.RestorePoint("early", 11);
  story_.RestorePoint("nightly", 12);
  const BackupSummary second = BackUpHere(newer);
  story_.Commit(702, 70);
  story_.RestorePoint("late", 71);
  story_.RestorePoint("nightly", 72);
  Archive();
  Have(backup_);
  Have(second);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kName, .name = "early"}), kTestLabel);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kName, .name = "late"}), newer);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kName, .name = "nightly"}), newer);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kXid, .xid = 701}), kTestLabel);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kXid, .xid = 702}), newer);
  options_.backup_label = kTestLabel;
  const RestorePlan plan = Plan({.kind = TargetKind::kName, .name = "nightly"}).value();
  EXPECT_EQ(plan.ending.last_in->xid, 701U) << "the first of that name";
}

TEST_P(TargetPlanTest, RecoveryCanStopBeforeWalOfMinimalLevel) {
  story_.Commit(701, 10);
  const Lsn minimal = story_.Commit(702, 20);
  HaveWithMinimalFrom(minimal);
  const RecoveryTarget before{.kind = TargetKind::kLsn, .lsn = minimal, .inclusive = false};
  EXPECT_EQ(Plan(before).value().ending.last_in->xid, 701U);
  EXPECT_ERROR(Plan({.kind = TargetKind::kLsn, .lsn = minimal}), ErrorCode::kFailedPrecondition);
  // No record begins between the two.
  const Lsn within{minimal.value - 1};
  EXPECT_EQ(Plan({.kind = TargetKind::kLsn, .lsn = within, .inclusive = false})
                .value()
                .ending.stop.replayed,
            minimal);
  EXPECT_ERROR(Plan({.kind = TargetKind::kLsn, .lsn = within}), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(Plan({.kind = TargetKind::kLsn, .lsn = Lsn{minimal.value + 1}, .inclusive = false}),
               ErrorCode::kFailedPrecondition);
}

// Recovery ends where the WAL is damaged, and gets no further.
TEST_P(TargetPlanTest, RecoveryDoesNotStopBeforeWalOfMinimalLevelBehindDamage) {
  story_.Commit(701, 10);
  const Lsn damaged = story_.position();
  story_.CutHere();
  story_.Commit(702, 15);
  const Lsn minimal = story_.Commit(703, 20);
  HaveWithMinimalFrom(minimal);
  for (const Lsn lsn : {Lsn{damaged.value + 1}, minimal}) {
    SCOPED_TRACE(FormatLsn(lsn));
    EXPECT_ERROR(Plan({.kind = TargetKind::kLsn, .lsn = lsn, .inclusive = false}),
                 ErrorCode::kFailedPrecondition);
  }
}

// A backup of a standby ends where the last record ended that the standby had replayed. Recovery to
// exactly that point needs the record behind it, and stops there when it is consistent.
TEST_P(EndingTest, TheEndOfABackupOfAStandbyIsATarget) {
  story_.Say();
  backup_.from_standby = true;
  backup_.stop_lsn = story_.next();
  story_.Commit(701, 10);
  Archive();
  for (const bool inclusive : {true, false}) {
    const Ending ending =
        Find({.kind = TargetKind::kLsn, .lsn = backup_.stop_lsn, .inclusive = inclusive});
    EXPECT_EQ(Describe(ending), inclusive ? "701 in, 0 out" : "0 in, 701 out");
    EXPECT_FALSE(ending.before_consistent);
  }
}

TEST_P(EndingTest, TheEndOfABackupOfAStandbyIsNoTargetWithoutARecordBehindIt) {
  story_.Say();
  backup_.from_standby = true;
  backup_.stop_lsn = story_.next();
  Archive();
  for (const bool inclusive : {true, false}) {
    EXPECT_EQ(AtLsn(backup_.stop_lsn, inclusive), "not reached, 0 in, 0 out");
  }
}

// The way from the older backup ends at wal_level = minimal. The newer one begins behind it, in the
// same segment.
TEST_P(TargetPlanTest, ANameBehindWalOfMinimalLevelIsFound) {
  const std::string newer = "20361122-020000F";
  story_.Commit(701, 10);
  story_.NextSegment();
  const Lsn minimal = story_.Say();
  BackupSummary second = TestSummary(*repository_, newer);
  second.start_lsn = story_.Say();
  second.stop_lsn = Lsn{story_.Say().value + 8};
  second.start_wal = second.stop_wal = story_.Name(SegmentOf(second.start_lsn, kTestSegmentSize));
  second.stop_time = second.start_time = Story::Minute(60);
  ASSERT_EQ(SegmentOf(minimal, kTestSegmentSize), SegmentOf(second.start_lsn, kTestSegmentSize));
  story_.NextSegment();
  story_.RestorePoint("behind", 70);
  const BackupSummary third = BackUpHere("20361123-020000F");
  HaveWithMinimalFrom(minimal);
  Have(second);
  Have(third);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kName, .name = "behind"}), newer);
}

TEST_P(TargetPlanTest, ANameWithinANewerBackupIsReachedFromTheOlderOne) {
  const std::string newer = "20361122-020000F";
  story_.RestorePoint("twice", 12);
  story_.NextSegment();
  BackupSummary second = BackUpHere(newer);
  story_.RestorePoint("twice", 71);
  second.stop_lsn = Lsn{story_.Say().value + 8};
  story_.RestorePoint("twice", 72);
  Archive();
  Have(backup_);
  Have(second);
  EXPECT_EQ(ChosenFor({.kind = TargetKind::kName, .name = "twice"}), kTestLabel)
      << "from the newer one, recovery would stop before it is consistent";
  options_.backup_label = newer;
  const Result<RestorePlan> plan = Plan({.kind = TargetKind::kName, .name = "twice"});
  EXPECT_ERROR(plan, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(plan.error().message, HasSubstr("before the backup is consistent"));
}

TEST_P(TargetPlanTest, ATargetThatIsNotInWalIsRefusedWithTheLastCommit) {
  story_.Commit(701, 10);
  const Lsn last = story_.Commit(702, 20);
  Archive();
  Have(backup_);
  for (const RecoveryTarget& target :
       {RecoveryTarget{.kind = TargetKind::kTime, .time = Story::Minute(20)},
        RecoveryTarget{.kind = TargetKind::kName, .name = "nowhere"},
        RecoveryTarget{.kind = TargetKind::kXid, .xid = 999}}) {
    options_.standby = false;
    const Result<RestorePlan> plan = Plan(target);
    EXPECT_ERROR(plan, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(plan.error().message,
                HasSubstr(fmt::format("transaction 702, committed at \"{}\" (LSN {})",
                                      FormatTargetTime(Story::Minute(20)), FormatLsn(last))));
    options_.standby = true;
    EXPECT_OK(Plan(target));  // more may come
  }
  options_.standby = false;
  const Result<RestorePlan> plan = Plan({.kind = TargetKind::kLsn, .lsn = Lsn{last.value + 1}});
  EXPECT_ERROR(plan, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(plan.error().message, HasSubstr("can read ends at LSN " + FormatLsn(story_.next())));
  EXPECT_OK(Plan({.kind = TargetKind::kLsn, .lsn = last}));
  options_.standby = true;
  EXPECT_OK(Plan({.kind = TargetKind::kLsn, .lsn = Lsn{last.value + 1}}));
  options_.standby = false;
  EXPECT_EQ(
      Plan({.kind = TargetKind::kTime, .time = Story::Minute(19)}).value().ending.last_in->xid,
      701U);
  EXPECT_FALSE(std::filesystem::exists(options_.target_directory));
}

}  // namespace
}  // namespace veza
