#include "core/restore/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/seal.h"
#include "core/repository/damage_record.h"
#include "core/restore/test_restore.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr std::uint64_t kOtherSystem = 7'000'000'000'000'000'001U;

// Backups that are only summaries, because a plan reads nothing else.
class PlanTest : public testing::Test {
 protected:
  explicit PlanTest(Cipher cipher = Cipher::kNone) : repository_(cipher) {
    options_.target_directory = work_.path() + "/restored";
    options_.restore_command = "/bin/false %f %p";
  }

  // A backup that needs the WAL segments 3 and 4 of its timeline.
  BackupSummary Summary(const std::string& label = kTestLabel, TimelineId timeline = 1) {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.timeline = timeline;
    return summary;
  }
  void Have(BackupSummary summary) {
    WriteText(repository_.PathOf(ManifestName(summary.label)), "manifest");
    summary.manifest_size = 8;
    WriteText(repository_.PathOf(BackupDocumentName(summary.label)),
              SerializeSummary(summary, repository_->seal_policy()).value());
  }
  void HaveSegments(TimelineId timeline, SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      WriteText(
          repository_.PathOf(
              WalObjectName(kTestSystem, SegmentName(timeline, number, kTestSegmentSize)).value()),
          std::string(kObjectHeaderSize, 'x'));
    }
  }
  void HaveBackup(const BackupSummary& summary) {
    Have(summary);
    HaveSegments(summary.timeline, 3, 4);
  }
  void HaveTimeline(TimelineId timeline, std::string_view history) {
    EXPECT_OK(repository_.PushWal(TimelineHistoryName(timeline), AsBytes(history)));
  }

  Result<RestorePlan> Plan() {
    const std::vector<std::string> before = ListTree(work_.path());
    Result<RestorePlan> plan = PlanRestore(*repository_, options_);
    EXPECT_EQ(ListTree(work_.path()), before) << "a plan writes nothing";
    return plan;
  }
  Error Refusal(ErrorCode code) {
    const Result<RestorePlan> plan = Plan();
    EXPECT_FALSE(plan);
    if (plan) {
      return {};
    }
    EXPECT_EQ(plan.error().code, code) << plan.error().message;
    return plan.error();
  }
  void ExpectRefusal(ErrorCode code) { EXPECT_EQ(Refusal(code).code, code); }

  TestRepository repository_;
  TemporaryDirectory work_;
  RestoreOptions options_;
};

class EncryptedPlanTest : public PlanTest {
 protected:
  EncryptedPlanTest() : PlanTest(Cipher::kAes256Gcm) {}
};

// Recovery would silently take it for the end of WAL.
TEST_F(PlanTest, ASegmentThatIsMissingBeforeTheTargetIsNamed) {
  options_.end_at_gap = true;
  const auto missing = [this] {
    const auto plan = Plan();
    EXPECT_OK(plan);
    const bool ends = options_.target.kind != TargetKind::kEndOfWal;
    EXPECT_EQ(plan->recovery.restore_command, plan->missing_segment.empty() && !ends
                                                  ? "/bin/false %f %p"
                                                  : "/bin/false %f %p --end-at-gap");
    return plan->missing_segment;
  };
  HaveBackup(Summary());
  EXPECT_EQ(missing(), "");
  HaveSegments(1, 5, 6);
  EXPECT_EQ(missing(), "");
  HaveSegments(1, 8, 9);
  const std::string seventh = SegmentName(1, 7, kTestSegmentSize);
  EXPECT_EQ(missing(), seventh);
  options_.target.kind = TargetKind::kTime;
  options_.target.time = kTestTime + std::chrono::hours(1);
  EXPECT_EQ(missing(), seventh);
  options_.target.kind = TargetKind::kImmediate;
  EXPECT_EQ(missing(), "");
  options_.target.kind = TargetKind::kLsn;
  options_.target.lsn = Lsn{6 * kTestSegmentSize + 5};
  EXPECT_EQ(missing(), "");
  options_.target.lsn = Lsn{8 * kTestSegmentSize + 5};
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).message,
              HasSubstr("ends at LSN 0/700000: segment \"" + seventh + "\" is missing"));

  // Along the timeline that recovery follows.
  options_.target = {};
  HaveTimeline(2, fmt::format("1\t{}\tx\n", FormatLsn(Lsn{6 * kTestSegmentSize + 5})));
  HaveSegments(2, 6, 7);
  EXPECT_EQ(missing(), "");
  options_.target.timeline.kind = TargetTimeline::Kind::kCurrent;
  EXPECT_EQ(missing(), seventh);
  repository_.clock().on_sleep = [this] { HaveSegments(1, 7, 7); };
  EXPECT_EQ(missing(), "");
}

TEST_F(PlanTest, ATargetAfterTheEndOfTheArchiveIsReported) {
  HaveBackup(Summary());
  HaveSegments(1, 5, 6);
  const auto is_behind = [this] { return Plan().value().is_behind_archive; };
  EXPECT_FALSE(is_behind());
  options_.target.kind = TargetKind::kLsn;
  options_.target.lsn = Lsn{6 * kTestSegmentSize + 5};
  EXPECT_FALSE(is_behind());
  options_.target.lsn = Lsn{7 * kTestSegmentSize};
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).message,
              HasSubstr("ends at LSN " + FormatLsn(options_.target.lsn)));
  options_.standby = true;
  EXPECT_TRUE(is_behind());
  options_.standby = false;
  const TimePoint stored =
      repository_->store()
          .Head(WalObjectName(kTestSystem, SegmentName(1, 6, kTestSegmentSize)).value())
          .value()
          .modified;
  options_.target.kind = TargetKind::kTime;
  options_.target.time = stored;
  EXPECT_FALSE(is_behind());
  options_.target.time = stored + std::chrono::hours(1);
  EXPECT_TRUE(is_behind());
}

TEST_F(PlanTest, ABackupThatLacksSomethingIsPassedOver) {
  HaveBackup(Summary());
  HaveSegments(1, 5, 9);
  std::vector<std::string> labels;
  for (const SegmentNumber number : {6, 8}) {
    BackupSummary newer = Summary(fmt::format("203611{}-020000F", 20 + number));
    newer.start_lsn = Lsn{number * kTestSegmentSize + 40};
    newer.stop_lsn = Lsn{(number + 1) * kTestSegmentSize};
    newer.start_wal = SegmentName(1, number, kTestSegmentSize);
    newer.packs = 1;
    WriteText(repository_.PathOf(PackName(newer.label, 1)), "pack");
    Have(newer);
    labels.push_back(newer.label);
  }
  EXPECT_EQ(Plan()->backup.label, labels[1]);
  std::filesystem::remove(repository_.PathOf(PackName(labels[1], 1)));
  EXPECT_EQ(Plan()->backup.label, labels[0]);
  EXPECT_THAT(Plan()->passed_over, HasSubstr(PackName(labels[1], 1)));
  std::filesystem::remove(repository_.PathOf(ManifestName(labels[0])));
  EXPECT_EQ(Plan()->backup.label, Summary().label);
  options_.backup_label = labels[1];
  EXPECT_EQ(Plan()->backup.label, labels[1]) << "what is asked for is tried";
}

TEST_F(PlanTest, ABackupThatIsKnownAsDamagedIsPassedOver) {
  HaveBackup(Summary());
  HaveSegments(1, 5, 9);
  BackupSummary newer = Summary("20361122-020000F");
  newer.start_lsn = Lsn{8 * kTestSegmentSize + 40};
  newer.stop_lsn = Lsn{9 * kTestSegmentSize};
  newer.start_wal = SegmentName(1, 8, kTestSegmentSize);
  newer.packs = 1;
  const std::string pack = PackName(newer.label, 1);
  WriteText(repository_.PathOf(pack), "pack");
  Have(newer);
  EXPECT_EQ(Plan()->backup.label, newer.label);
  ASSERT_OK(StoreDamage(*repository_, newer.label,
                        {.manifest_sha256 = newer.manifest_sha256,
                         .node = "verifier",
                         .objects = {.names = {pack}, .count = 1}}));
  EXPECT_EQ(Plan()->backup.label, Summary().label);
  EXPECT_THAT(Plan()->passed_over, AllOf(HasSubstr(pack), HasSubstr("is damaged, as")));
  EXPECT_EQ(Plan()->damage, "");
  options_.backup_label = newer.label;
  EXPECT_EQ(Plan()->backup.label, newer.label) << "what is asked for is tried";
  EXPECT_THAT(Plan()->damage, HasSubstr(pack));
  options_.backup_label.clear();

  // A record that anybody can have written hides nothing.
  WriteText(repository_.PathOf(DamageName(newer.label)), "{}");
  EXPECT_EQ(Plan()->backup.label, newer.label);
  EXPECT_EQ(Plan()->passed_over, "");
  EXPECT_THAT(Plan()->damage, HasSubstr("it may be known as damaged, but the record"));
  std::filesystem::remove(repository_.PathOf(pack));
  EXPECT_EQ(Plan()->backup.label, Summary().label) << "nor what is wrong besides";
}

TEST_F(PlanTest, ATargetAfterAMissingSegmentIsRefused) {
  HaveBackup(Summary());
  HaveSegments(1, 5, 6);
  HaveSegments(1, 8, 9);
  const Error refusal = Refusal(ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refusal.message, AllOf(HasSubstr("recovery to the end of WAL would need"),
                                     HasSubstr(SegmentName(1, 7, kTestSegmentSize))));
  EXPECT_THAT(refusal.hint, HasSubstr("--end-at-gap"));
  // A backup after the gap would do, but is known to be wrong.
  BackupSummary newer = Summary("20361122-020000F");
  newer.start_lsn = Lsn{8 * kTestSegmentSize + 40};
  newer.stop_lsn = Lsn{9 * kTestSegmentSize};
  newer.start_wal = SegmentName(1, 8, kTestSegmentSize);
  newer.checksum_failures = 1;
  Have(newer);
  const RestorePlan plan = Plan().value();
  EXPECT_EQ(plan.backup.label, newer.label) << "it is taken all the same, with its doubt";
  EXPECT_THAT(plan.doubt, HasSubstr("backup \"20361122-020000F\" holds"));
  EXPECT_EQ(plan.passed_over, "");
  options_.end_at_gap = true;
  EXPECT_EQ(Plan().value().backup.label, newer.label) << "the gap is not on its way";
  options_.end_at_gap = false;
  options_.standby = true;
  EXPECT_EQ(Plan().value().backup.label, newer.label);
  options_.standby = false;
  HaveSegments(1, 7, 7);
  EXPECT_EQ(Plan().value().backup.label, Summary().label);
  EXPECT_THAT(Plan().value().passed_over, HasSubstr("backup \"20361122-020000F\" holds"));
  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, SegmentName(1, 7, kTestSegmentSize)).value()));
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(newer.label)));
  options_.target.kind = TargetKind::kLsn;
  options_.target.lsn = Lsn{8 * kTestSegmentSize + 5};
  ExpectRefusal(ErrorCode::kFailedPrecondition);
  options_.target.lsn = Lsn{6 * kTestSegmentSize + 5};
  EXPECT_OK(Plan());
  // The positions of these targets cannot be known. PostgreSQL ends with an error if it does not
  // reach them.
  options_.target.kind = TargetKind::kXid;
  EXPECT_EQ(Plan().value().recovery.restore_command, "/bin/false %f %p --end-at-gap");
  // A primary may stream it.
  options_.target = {};
  options_.standby = true;
  EXPECT_EQ(Plan().value().recovery.restore_command, "/bin/false %f %p");
}

// What somebody left behind the WAL looks like later WAL, but is too small to be any.
TEST_F(PlanTest, ARefusalSaysThatOnlyJunkIsBehindAMissingSegment) {
  HaveBackup(Summary());
  HaveSegments(1, 5, 6);
  const auto have_junk = [this](TimelineId timeline, SegmentNumber number, std::size_t size) {
    std::string name =
        WalObjectName(kTestSystem, SegmentName(timeline, number, kTestSegmentSize)).value();
    WriteText(repository_.PathOf(name), std::string(size, 'x'));
    return name;
  };
  const std::string first = have_junk(1, 9, kObjectHeaderSize - 1);
  Error refusal = Refusal(ErrorCode::kFailedPrecondition);
  EXPECT_THAT(
      refusal.message,
      AllOf(HasSubstr("would need WAL segment \"" + SegmentName(1, 7, kTestSegmentSize)),
            HasSubstr("only junk: object \"" + first + "\" has 63 bytes"), Not(HasSubstr("more"))));
  EXPECT_THAT(refusal.hint, AllOf(HasSubstr("delete"), HasSubstr("--end-at-gap")));
  have_junk(1, 11, 1);
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).message, HasSubstr("; likewise 1 more"));

  // Later WAL makes it a gap again, but not WAL of a timeline that recovery has left by then.
  HaveTimeline(2, fmt::format("1\t{}\tx\n", FormatLsn(Lsn{8 * kTestSegmentSize + 5})));
  HaveSegments(1, 12, 12);
  const std::string second = have_junk(2, 9, 1);
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).message,
              HasSubstr("only junk: object \"" + second + "\" has 1 bytes"));
  HaveSegments(2, 10, 10);
  refusal = Refusal(ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refusal.message, AllOf(HasSubstr("later ones are there"), Not(HasSubstr("junk"))));
}

// PostgreSQL would stop looking for the latest timeline there, and lose what came after.
TEST_F(PlanTest, AMissingHistoryFileIsNamed) {
  HaveBackup(Summary());
  HaveTimeline(3, "1\t0/500000\tx\n2\t0/600000\tx\n");
  HaveSegments(2, 5, 6);
  HaveSegments(3, 6, 7);
  Error refusal = Refusal(ErrorCode::kDataCorrupted);
  EXPECT_THAT(refusal.message, AllOf(HasSubstr("00000002.history"), HasSubstr("timeline 3")));
  EXPECT_THAT(refusal.hint, AllOf(HasSubstr("pg_wal"), HasSubstr("--target-timeline")));
  // The last timeline, of which there is only WAL.
  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, "00000003.history").value()));
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message, HasSubstr("00000002.history"));
  HaveTimeline(2, "1\t0/500000\tx\n");
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message, HasSubstr("00000003.history"));

  options_.target.timeline = {TargetTimeline::Kind::kNumber, 2};
  EXPECT_EQ(Plan().value().target_timeline, 2U);
  options_.target.timeline = {TargetTimeline::Kind::kCurrent, 0};
  EXPECT_EQ(Plan().value().target_timeline, 1U);
  options_.target.timeline = {};
  // The file may be about to be archived.
  repository_.clock().on_sleep = [this] { HaveTimeline(3, "1\t0/500000\tx\n2\t0/600000\tx\n"); };
  EXPECT_EQ(Plan().value().target_timeline, 3U);
  // A backup on the newest timeline needs none of the other history files.
  BackupSummary newest = Summary("20261123-020000F", 3);
  newest.stop_time += std::chrono::hours(24);
  HaveBackup(newest);
  HaveSegments(3, 5, 5);
  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, "00000002.history").value()));
  EXPECT_EQ(Plan().value().target_timeline, 3U);
}

TEST_F(PlanTest, TakesTheNewestBackupAndTheNewestTimeline) {
  HaveBackup(Summary());
  BackupSummary newer = Summary("20261123-020000F");
  newer.stop_time += std::chrono::hours(24);
  newer.tablespaces = {{16384, work_.path() + "/old", 100}};
  HaveBackup(newer);
  options_.tablespace_map[work_.path() + "/old"] = work_.path() + "/new//";
  options_.target_directory += "/";
  options_.standby = true;
  options_.preserve_archive_mode = true;
  options_.jobs = 0;
  const auto plan = Plan();
  ASSERT_OK(plan);
  EXPECT_EQ(plan->backup.label, "20261123-020000F");
  EXPECT_EQ(plan->target_directory, work_.path() + "/restored");
  ASSERT_THAT(plan->tablespaces, SizeIs(1));
  EXPECT_EQ(plan->tablespaces[0].oid, 16384U);
  EXPECT_EQ(plan->tablespaces[0].path, work_.path() + "/new");
  EXPECT_EQ(plan->target_timeline, 1U);
  EXPECT_EQ(plan->recovery.restore_command, "/bin/false %f %p");
  EXPECT_TRUE(plan->recovery.standby);
  EXPECT_TRUE(plan->recovery.preserve_archive_mode);
  EXPECT_EQ(plan->jobs, 1);
}

TEST_F(PlanTest, TakesTheBackupThatIsNamed) {
  HaveBackup(Summary());
  BackupSummary newer = Summary("20261123-020000F");
  newer.stop_time += std::chrono::hours(24);
  HaveBackup(newer);
  options_.backup_label = kTestLabel;
  EXPECT_EQ(Plan().value().backup.label, kTestLabel);
}

// --- Backups that cannot be used -----------------------------------------------------------------

TEST_F(PlanTest, RefusesWithoutABackup) {
  ExpectRefusal(ErrorCode::kNotFound);
  options_.backup_label = kTestLabel;
  ExpectRefusal(ErrorCode::kNotFound);
  options_.backup_label = "newest";
  ExpectRefusal(ErrorCode::kInvalidArgument);
}

TEST_F(PlanTest, RefusesAnUnfinishedOrDamagedBackupByName) {
  HaveBackup(Summary());
  WriteText(repository_.PathOf(PackName("20261123-020000F", 1)), "x");
  WriteText(repository_.PathOf(BackupDocumentName("20261124-020000F")), "{}");
  options_.backup_label = "20261123-020000F";
  EXPECT_THAT(Refusal(ErrorCode::kNotFound).message, HasSubstr("is not complete"));
  options_.backup_label = "20261124-020000F";
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message, HasSubstr("20261124-020000F"));
  // A backup that is not named does not matter.
  options_.backup_label.clear();
  EXPECT_EQ(Plan().value().backup.label, kTestLabel);
}

TEST_F(PlanTest, RefusesATargetBeforeTheEndOfTheBackup) {
  HaveBackup(Summary());
  options_.target.kind = TargetKind::kTime;
  options_.target.time = Summary().stop_time - std::chrono::microseconds(1);
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).hint, HasSubstr(kTestLabel));
  options_.backup_label = kTestLabel;
  ExpectRefusal(ErrorCode::kFailedPrecondition);
  options_.target.time = Summary().stop_time;
  EXPECT_OK(Plan());

  options_.target.kind = TargetKind::kLsn;
  options_.target.lsn = Lsn{kTestStopLsn.value - 1};
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).hint, HasSubstr("0/400100"));
  options_.target.lsn = kTestStopLsn;
  EXPECT_OK(Plan());
}

TEST_F(PlanTest, RefusesABackupWithoutItsWal) {
  Have(Summary());
  HaveSegments(1, 4, 10);
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message,
              AllOf(HasSubstr("000000010000000000000003"), HasSubstr(kTestLabel)));
  HaveSegments(1, 3, 3);
  EXPECT_OK(Plan());
  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value()));
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message, HasSubstr("000000010000000000000004"));
}

// --- Timelines -----------------------------------------------------------------------------------

TEST_F(PlanTest, FollowsTheNewestTimelineThatTheBackupLeadsTo) {
  HaveBackup(Summary());
  HaveTimeline(2, "1\t0/500000\treason\n");
  HaveTimeline(3, "1\t0/500000\treason\n2\t0/600000\treason\n");
  EXPECT_EQ(Plan().value().target_timeline, 3U);
  options_.target.timeline.kind = TargetTimeline::Kind::kCurrent;
  EXPECT_EQ(Plan().value().target_timeline, 1U);
  options_.target.timeline.kind = TargetTimeline::Kind::kNumber;
  options_.target.timeline.number = 2;
  const auto plan = Plan();
  ASSERT_OK(plan);
  EXPECT_EQ(plan->target_timeline, 2U);
  EXPECT_EQ(plan->recovery.target.timeline.number, 2U);
}

TEST_F(PlanTest, RefusesATimelineThatLeftBeforeTheBackup) {
  HaveBackup(Summary());
  HaveTimeline(2, "1\t0/4000FF\tbefore the backup ended\n");
  EXPECT_THAT(Refusal(ErrorCode::kNotFound).message, HasSubstr("timeline 2"));
  options_.backup_label = kTestLabel;
  EXPECT_THAT(Refusal(ErrorCode::kFailedPrecondition).message,
              AllOf(HasSubstr(kTestLabel), HasSubstr("timeline 2")));
  options_.target.timeline.kind = TargetTimeline::Kind::kNumber;
  options_.target.timeline.number = 1;
  EXPECT_OK(Plan());
}

TEST_F(PlanTest, RefusesAMissingTimeline) {
  HaveBackup(Summary());
  options_.target.timeline.kind = TargetTimeline::Kind::kNumber;
  options_.target.timeline.number = 7;
  const Error error = Refusal(ErrorCode::kNotFound);
  EXPECT_THAT(error.message, HasSubstr("timeline 7"));
  EXPECT_THAT(error.hint, HasSubstr("--target-timeline"));
}

TEST_F(PlanTest, ADamagedHistoryIsNotTakenForAMissingOne) {
  HaveBackup(Summary());
  HaveTimeline(2, "nonsense");
  ExpectRefusal(ErrorCode::kDataCorrupted);
}

// The server looks for the newest timeline from that of its backup on, whatever comes before.
TEST_F(PlanTest, AnOlderMissingHistoryDoesNotHideNewerTimelines) {
  HaveBackup(Summary());
  HaveTimeline(5, "1\t0/500000\treason\n");
  HaveTimeline(6, "1\t0/500000\treason\n5\t0/900000\treason\n");
  BackupSummary on_five = Summary("20261123-020000F", 5);
  on_five.stop_time += std::chrono::hours(24);
  HaveBackup(on_five);
  EXPECT_EQ(Plan().value().backup.label, "20261123-020000F");
  EXPECT_EQ(Plan().value().target_timeline, 6U);
  options_.backup_label = "20261123-020000F";
  EXPECT_EQ(Plan().value().target_timeline, 6U);
  // From the older backup, the server would not find them.
  options_.backup_label = kTestLabel;
  EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).message, HasSubstr("00000002.history"));
  options_.target.timeline = {TargetTimeline::Kind::kNumber, 6};
  EXPECT_EQ(Plan().value().target_timeline, 6U);
}

// --- Places --------------------------------------------------------------------------------------

TEST_F(PlanTest, RefusesAPlaceThatIsNotEmpty) {
  HaveBackup(Summary());
  work_.Write("restored/.hidden", "x");
  const Error error = Refusal(ErrorCode::kFailedPrecondition);
  EXPECT_THAT(error.message, AllOf(HasSubstr(options_.target_directory), HasSubstr("not empty")));
  EXPECT_THAT(error.hint, HasSubstr("Nothing was written"));
  std::filesystem::remove(options_.target_directory + "/.hidden");
  EXPECT_OK(Plan());
}

TEST_F(PlanTest, RefusesAPlaceThatIsNoDirectory) {
  HaveBackup(Summary());
  work_.Write("restored", "x");
  EXPECT_FALSE(Plan());
  options_.target_directory += "/below";
  EXPECT_FALSE(Plan());
  for (const char* path : {"", "relative", "./relative"}) {
    options_.target_directory = path;
    ExpectRefusal(ErrorCode::kInvalidArgument);
  }
}

TEST_F(PlanTest, RefusesAPlaceThatCannotBeWritten) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  HaveBackup(Summary());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository_.Scratch(""))) {
    ASSERT_EQ(chown(entry.path().c_str(), 65534, 65534), 0);
  }
  work_.Write("restored/x", "x");
  std::filesystem::remove(options_.target_directory + "/x");
  const auto refused = [&] {
    EXPECT_EQ(seteuid(65534), 0);
    const Error error = Refusal(ErrorCode::kPermissionDenied);
    EXPECT_EQ(seteuid(0), 0);
    EXPECT_THAT(error.message, HasSubstr(options_.target_directory));
  };
  refused();  // it belongs to another account
  options_.target_directory = work_.path() + "/absent/restored";
  refused();  // so does its parent
}

TEST_F(EncryptedPlanTest, RefusesTablespacesWithoutAPlace) {
  BackupSummary summary = Summary();
  summary.tablespaces = {{16384, work_.path() + "/fast", 100}, {16385, work_.path() + "/slow", 0}};
  HaveBackup(summary);
  EXPECT_OK(Plan());

  work_.Write("slow/file", "x");
  const Error error = Refusal(ErrorCode::kFailedPrecondition);
  EXPECT_THAT(error.message, AllOf(HasSubstr("16385"), HasSubstr(work_.path() + "/slow")));
  EXPECT_THAT(error.hint, HasSubstr("--tablespace-map"));
  options_.tablespace_map[work_.path() + "/slow"] = work_.path() + "/elsewhere";
  EXPECT_OK(Plan());
  options_.tablespace_map[work_.path() + "/slow"] = "relative";
  ExpectRefusal(ErrorCode::kInvalidArgument);
}

// In an encrypted repository, nobody can have forged the location.
TEST_F(PlanTest, AnUnencryptedRepositoryDoesNotDecideWhereTablespacesGo) {
  const std::string place = work_.path() + "/place";
  BackupSummary summary = Summary();
  summary.tablespaces = {{16384, place, 100}};
  HaveBackup(summary);
  const auto refused = [&] {
    const Error error = Refusal(ErrorCode::kFailedPrecondition);
    EXPECT_THAT(error.message, AllOf(HasSubstr("16384"), HasSubstr(place)));
    EXPECT_THAT(error.hint, HasSubstr(fmt::format("--tablespace-map {}=", place)));
  };
  refused();
  options_.tablespace_map[place] = place;
  EXPECT_EQ(Plan().value().tablespaces[0].path, place);
  options_.tablespace_map.clear();

  // In a delta, the target itself proves the location of its tablespace.
  std::filesystem::create_directories(options_.target_directory + "/pg_tblspc");
  std::filesystem::create_directories(place);
  WriteText(options_.target_directory + "/veza-restoring", "");
  options_.delta = true;
  refused();
  const std::string link = options_.target_directory + "/pg_tblspc/16384";
  std::filesystem::create_directory_symlink(work_.path(), link);
  refused();
  std::filesystem::remove(link);
  std::filesystem::create_directory_symlink(place, link);
  EXPECT_THAT(Plan().error().message, testing::Not(HasSubstr("unencrypted")));
}

TEST_F(PlanTest, TheRootTakesAllTablespacesThatTheMapDoesNotName) {
  BackupSummary summary = Summary();
  summary.tablespaces = {{16384, work_.path() + "/fast", 100}, {16385, work_.path() + "/slow", 0}};
  HaveBackup(summary);
  work_.Write("slow/file", "x");
  options_.tablespace_map[work_.path() + "/fast"] = work_.path() + "/faster";
  options_.tablespace_root = work_.path() + "/all";
  const RestorePlan plan = Plan().value();
  EXPECT_EQ(plan.tablespaces[0].path, work_.path() + "/faster");
  EXPECT_EQ(plan.tablespaces[1].path, work_.path() + "/all/16385");
}

TEST_F(PlanTest, RefusesAMapOfUnknownTablespaces) {
  BackupSummary summary = Summary();
  HaveBackup(summary);
  options_.tablespace_map["/not/there"] = work_.path() + "/new";
  Error error = Refusal(ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message, HasSubstr("/not/there"));
  EXPECT_THAT(error.hint, HasSubstr("no tablespaces"));

  summary.tablespaces = {{16384, work_.path() + "/fast", 100}};
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(kTestLabel)));
  HaveBackup(summary);
  error = Refusal(ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.hint, HasSubstr(work_.path() + "/fast"));
}

TEST_F(EncryptedPlanTest, RefusesTwoThingsInOnePlace) {
  BackupSummary summary = Summary();
  summary.tablespaces = {{16384, work_.path() + "/fast", 100}, {16385, work_.path() + "/slow", 0}};
  HaveBackup(summary);
  options_.tablespace_map[work_.path() + "/slow"] = work_.path() + "/fast/";
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument).message, HasSubstr("two tablespaces"));
  options_.tablespace_map[work_.path() + "/slow"] = options_.target_directory + "/";
  EXPECT_THAT(Refusal(ErrorCode::kInvalidArgument).message, HasSubstr("data directory itself"));
}

TEST_F(PlanTest, RefusesWhatDoesNotFit) {
  BackupSummary summary = Summary();
  summary.size = 1ULL << 62;
  HaveBackup(summary);
  const Error error = Refusal(ErrorCode::kNoSpace);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("4611686018427387904"), HasSubstr(options_.target_directory)));
  EXPECT_THAT(error.hint, HasSubstr("Nothing was written"));
}

// The size of a tablespace counts on the file system of its new location. Here that is the same
// one.
TEST_F(EncryptedPlanTest, TablespacesAreCountedOnTheirFileSystem) {
  BackupSummary summary = Summary();
  summary.size = 1ULL << 62;
  summary.tablespaces = {{16384, work_.path() + "/fast", (1ULL << 62) - 4096}};
  HaveBackup(summary);
  EXPECT_THAT(Refusal(ErrorCode::kNoSpace).message, HasSubstr("4611686018427387904"));
}

// --- Systems -------------------------------------------------------------------------------------

TEST_F(PlanTest, RefusesToGuessTheSystem) {
  HaveBackup(Summary());
  const auto both =
      Repository::Initialise(repository_.MakeStore(), repository_.options(),
                             repository_.environment(), TestIdentity(kOtherSystem), true);
  ASSERT_OK(both);
  EXPECT_ERROR(PlanRestore(**both, options_), ErrorCode::kInvalidArgument);
  options_.system_identifier = kTestSystem;
  EXPECT_OK(PlanRestore(**both, options_));
  options_.system_identifier = kOtherSystem;
  EXPECT_ERROR(PlanRestore(**both, options_), ErrorCode::kNotFound);
  options_.backup_label = kTestLabel;
  EXPECT_ERROR(PlanRestore(**both, options_), ErrorCode::kNotFound);
  options_.system_identifier = 42;
  EXPECT_ERROR(PlanRestore(**both, options_), ErrorCode::kConflict);
}

// The server asks for every history file up to the latest timeline. With a numbered timeline it
// reads only that one's.
TEST_F(PlanTest, ADamagedHistoryMattersToTheLatestTimeline) {
  HaveBackup(Summary());
  HaveTimeline(2, "nonsense");
  HaveTimeline(3, "1\t0/500000\treason\n");
  for (const TargetKind kind :
       {TargetKind::kEndOfWal, TargetKind::kImmediate, TargetKind::kTime, TargetKind::kName}) {
    options_.target = {.kind = kind, .time = kTestTime + std::chrono::hours(1), .name = "a"};
    const Error refused = Refusal(ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.message, HasSubstr("\"00000002.history\" cannot be read"));
    EXPECT_THAT(refused.hint, HasSubstr("--target-timeline"));
    options_.target.timeline = {TargetTimeline::Kind::kNumber, 3};
    EXPECT_OK(Plan());
    options_.target.timeline = {TargetTimeline::Kind::kCurrent};
    EXPECT_OK(Plan());
    options_.target.timeline = {TargetTimeline::Kind::kNumber, 2};
    EXPECT_THAT(Refusal(ErrorCode::kDataCorrupted).hint, HasSubstr("--target-timeline"));
  }
}

// --- At the end of a restore ---------------------------------------------------------------------

TEST_F(PlanTest, WhatThePlanDependsOnIsCheckedAgain) {
  const BackupSummary full = Summary();
  BackupSummary diff = Summary(DiffLabel(kTestLabel, kTestTime + std::chrono::hours(24)));
  diff.sources = {{full.label, full.manifest_sha256}};
  Have(full);
  HaveBackup(diff);
  HaveSegments(1, 5, 7);
  HaveSegments(2, 7, 9);
  HaveTimeline(2, fmt::format("1\t{}\tno reason\n", FormatLsn(Lsn{7 * kTestSegmentSize + 0x60})));
  options_.backup_label = diff.label;
  RestorePlan plan = Plan().value();
  EXPECT_EQ(plan.target_timeline, 2U);
  EXPECT_OK(RequireStillThere(*repository_, plan));

  const auto without = [&](const std::string& name) {
    const std::string path = repository_.PathOf(name);
    const std::string content = ReadText(path);
    std::filesystem::remove(path);
    Status there = RequireStillThere(*repository_, plan);
    WriteText(path, content);
    return there;
  };
  const auto refuses_without = [&](const std::string& name, const std::string& message) {
    const Status there = without(name);
    EXPECT_ERROR(there, ErrorCode::kDataCorrupted);
    EXPECT_THAT(there.error().message, HasSubstr(message));
  };
  const auto wal = [](TimelineId timeline, SegmentNumber number) {
    return WalObjectName(kTestSystem, SegmentName(timeline, number, kTestSegmentSize)).value();
  };
  const std::string last = SegmentName(2, 9, kTestSegmentSize);
  refuses_without(wal(2, 9), last);  // which leaves no gap
  // WAL that is archived later does not matter.
  HaveSegments(2, 12, 13);
  EXPECT_OK(RequireStillThere(*repository_, plan));

  refuses_without(BackupDocumentName(diff.label), "was removed from the repository while");
  refuses_without(BackupDocumentName(full.label), full.label);
  refuses_without(wal(1, 3), "which backup");
  refuses_without(wal(1, 6), SegmentName(1, 6, kTestSegmentSize));
  refuses_without(wal(2, 9), "which was there when the restore began");
  refuses_without(WalObjectName(kTestSystem, TimelineHistoryName(2)).value(), "00000002.history");
  EXPECT_OK(without(wal(1, 7)));  // the new timeline has it
  EXPECT_OK(RequireStillThere(*repository_, plan));

  // If everything is gone, the repository itself is missing, and nothing was removed from it.
  const std::string root = repository_.PathOf("");
  const std::string away = repository_.Scratch("away");
  std::filesystem::rename(root, away);
  const auto is_away = [&](const Status& there) {
    EXPECT_ERROR(there, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(there.error().message, HasSubstr("can no longer be found"));
    EXPECT_THAT(there.error().hint, HasSubstr("not mounted"));
  };
  is_away(RequireStillThere(*repository_, plan));
  const auto planned = PlanRestore(*repository_, options_);
  is_away(planned ? Ok() : Status(planned.error()));
  std::filesystem::create_directory(root);  // the mount point still exists
  is_away(RequireStillThere(*repository_, plan));
  std::filesystem::remove(root);
  std::filesystem::rename(away, root);
  EXPECT_OK(RequireStillThere(*repository_, plan));

  // WAL after the target does not matter, either.
  options_.target = {.kind = TargetKind::kLsn, .lsn = Lsn{6 * kTestSegmentSize + 0x100}};
  plan = Plan().value();
  EXPECT_OK(without(wal(2, 9)));
  refuses_without(wal(1, 6), SegmentName(1, 6, kTestSegmentSize));
}

}  // namespace
}  // namespace veza
