#include "core/restore/choose_backup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/backup/suspect_diff.h"
#include "core/restore/target_time.h"

namespace veza {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TimePoint Time(std::string_view text) {
  return ParseTargetTime(text).value();
}

BackupSummary Backup(const char* label, TimelineId timeline, std::uint64_t stop_lsn,
                     std::string_view stop_time) {
  BackupSummary backup;
  backup.label = label;
  backup.timeline = timeline;
  backup.stop_lsn = Lsn{stop_lsn};
  backup.stop_time = Time(stop_time);
  return backup;
}

// Timeline 1 was left at 0x500 for timeline 2. Then a backup of the abandoned branch was made.
class ChooseBackupTest : public testing::Test {
 protected:
  const TimePoint now_ = Time("2026-11-05 00:00:00+00");
  const std::vector<BackupSummary> backups_ = {
      Backup("first", 1, 0x100, "2026-11-01 02:10:00+00"),
      Backup("second", 1, 0x400, "2026-11-02 02:10:00+00"),
      Backup("promoted", 2, 0x600, "2026-11-03 02:10:00+00"),
      Backup("abandoned", 1, 0x700, "2026-11-04 02:10:00+00"),
  };
  const TimelineHistory one_{1, {}};
  const TimelineHistory two_{2, {{1, Lsn{0x500}}}};

  std::string Choose(const RecoveryTarget& target, const TimelineHistory* history,
                     std::string_view label = "") const {
    const auto backup = ChooseBackup(backups_, target, label, history, now_);
    return backup.has_value() ? backup->label : ErrorCodeName(backup.error().code);
  }
  static RecoveryTarget AtTime(std::string_view time) {
    return {.kind = TargetKind::kTime, .time = Time(time)};
  }
  static RecoveryTarget AtLsn(std::uint64_t lsn) {
    return {.kind = TargetKind::kLsn, .lsn = Lsn{lsn}};
  }
};

TEST_F(ChooseBackupTest, WithoutATargetTheNewestOnThePathToTheTimeline) {
  EXPECT_EQ(Choose({}, &two_), "promoted");
  EXPECT_EQ(Choose({}, &one_), "abandoned");
  EXPECT_EQ(Choose({}, nullptr), "promoted");
  EXPECT_EQ(Choose({.kind = TargetKind::kImmediate}, &two_), "promoted");
  EXPECT_EQ(Choose({.kind = TargetKind::kXid, .xid = 700}, &two_), "promoted");
  EXPECT_EQ(Choose({.kind = TargetKind::kName, .name = "before"}, &two_), "promoted");
}

TEST_F(ChooseBackupTest, TheBackupEndsAtOrBeforeATime) {
  EXPECT_EQ(Choose(AtTime("2026-11-03 02:09:59.999999+00"), &two_), "second");
  EXPECT_EQ(Choose(AtTime("2026-11-03 02:10:00+00"), &two_), "promoted");
  EXPECT_EQ(Choose(AtTime("2026-11-03 12:00:00+00"), &one_), "second");
  EXPECT_EQ(Choose(AtTime("2030-01-01 00:00:00+00"), &two_), "promoted");
}

TEST_F(ChooseBackupTest, TheBackupEndsAtOrBeforeAnLsnOnTheTimeline) {
  EXPECT_EQ(Choose(AtLsn(0x3ff), &two_), "first");
  EXPECT_EQ(Choose(AtLsn(0x400), &two_), "second");
  EXPECT_EQ(Choose(AtLsn(0x800), &two_), "promoted");
  EXPECT_EQ(Choose(AtLsn(0x800), &one_), "abandoned");
  EXPECT_EQ(Choose(AtLsn(0x650), &one_), "second");
}

TEST_F(ChooseBackupTest, TargetsBeforeEveryBackupNameTheEarliest) {
  const auto by_time = ChooseBackup(backups_, AtTime("2026-10-31 00:00:00+00"), "", &two_, now_);
  ASSERT_FALSE(by_time.has_value());
  EXPECT_EQ(by_time.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_NE(by_time.error().hint.find("2026-11-01 02:10:00.000000+00"), std::string::npos)
      << by_time.error().hint;
  EXPECT_NE(by_time.error().hint.find("\"first\""), std::string::npos);
  const auto by_lsn = ChooseBackup(backups_, AtLsn(0xff), "", &two_, now_);
  ASSERT_FALSE(by_lsn.has_value());
  EXPECT_NE(by_lsn.error().hint.find("LSN 0/100"), std::string::npos) << by_lsn.error().hint;
}

// The newest backup was taken by a node whose clock is ten minutes behind, so it ended later than
// it says.
TEST_F(ChooseBackupTest, ABackupOfANodeWhoseClockIsBehindIsNotOlder) {
  const std::vector<BackupSummary> backups{Backup("older", 1, 0x100, "2026-11-01 12:00:00+00"),
                                           Backup("newer", 1, 0x200, "2026-11-01 11:55:00+00")};
  const auto choose = [&](const RecoveryTarget& target) {
    const auto backup = ChooseBackup(backups, target, "", &one_, now_);
    return backup ? backup->label : backup.error().hint;
  };
  EXPECT_EQ(choose({}), "newer");
  EXPECT_EQ(choose(AtTime("2026-11-01 12:00:00+00")), "newer");
  EXPECT_EQ(choose(AtLsn(0x1ff)), "older");
  EXPECT_NE(choose(AtTime("2026-11-01 11:57:00+00")), "newer");
}

// The server's clock was two years ahead at the first backup, and is right again.
TEST_F(ChooseBackupTest, AClockThatWasAheadIsNamed) {
  std::vector<BackupSummary> backups{
      Backup("20261101-120000F", 1, 0x100, "2028-11-01 12:10:00+00"),
      Backup("20261102-120000F", 1, 0x200, "2026-11-02 12:10:00+00")};
  const auto hint = [&](const RecoveryTarget& target, std::string_view label = "") {
    return ChooseBackup(backups, target, label, &one_, now_).error().hint;
  };
  const RecoveryTarget target = AtTime("2026-11-03 00:00:00+00");
  const std::string told =
      "The server's clock was ahead when backup \"20261101-120000F\" was made, which has "
      "\"2028-11-01 12:10:00.000000+00\" as its end. Use --target-lsn, --target-xid or "
      "--target-name, or take a new backup: --backup with its label can be restored to times after "
      "its end.";
  EXPECT_THAT(hint(target), EndsWith(told));
  EXPECT_THAT(hint(target, "20261101-120000F"), EndsWith(told));
  EXPECT_EQ(ChooseBackup(backups, target, "20261102-120000F", &one_, now_).value().label,
            "20261102-120000F");
  EXPECT_THAT(hint(AtLsn(0x80)), Not(HasSubstr("clock")));

  // What is in the past by now is told by the label.
  backups[0].start_time = Time("2026-11-01 13:00:01+00");
  backups[0].stop_time = Time("2026-11-04 00:00:00+00");
  EXPECT_THAT(hint(target), HasSubstr("The server's clock was ahead"));
  // A backup may take long.
  backups[0].start_time = Time("2026-11-01 12:00:00+00");
  EXPECT_THAT(hint(target), Not(HasSubstr("clock")));
}

TEST_F(ChooseBackupTest, ByLabel) {
  EXPECT_EQ(Choose({}, &two_, "first"), "first");
  EXPECT_EQ(Choose(AtTime("2026-11-03 12:00:00+00"), &two_, "first"), "first");
  EXPECT_EQ(Choose({}, &two_, "third"), "not_found");
  EXPECT_EQ(Choose({}, &two_, "abandoned"), "failed_precondition");
  EXPECT_EQ(Choose({}, nullptr, "abandoned"), "abandoned");
  EXPECT_EQ(Choose(AtLsn(0x3ff), &two_, "second"), "failed_precondition");
  const auto late = ChooseBackup(backups_, AtTime("2026-11-02 00:00:00+00"), "second", &two_, now_);
  ASSERT_FALSE(late.has_value());
  EXPECT_NE(late.error().hint.find("2026-11-02 02:10:00.000000+00"), std::string::npos);
}

TEST_F(ChooseBackupTest, ABackupKnownToBeWrongIsPassedOver) {
  std::vector<BackupSummary> backups = backups_;
  backups.push_back(Backup("20261105-020000F", 2, 0x800, "2026-11-05 02:10:00+00"));
  backups.push_back(
      Backup("20261105-020000F_20261106-020000D", 2, 0x900, "2026-11-06 02:10:00+00"));
  BackupSummary& full = backups[4];
  BackupSummary& diff = backups[5];
  diff.type = BackupType::kDiff;
  diff.changes_by = "digest";
  const auto choose = [&](const RecoveryTarget& target, const TimelineHistory* history,
                          DoubtfulBackups doubtful = DoubtfulBackups::kPassOver) {
    return ChooseBackup(backups, target, "", history, now_, doubtful).value().label;
  };
  EXPECT_EQ(choose({}, &two_), diff.label);

  diff.checksum_failures = 1;
  diff.checksum_failure_pages = {{"base/5/100", 7}};
  EXPECT_EQ(WhyDoubtful(diff, backups),
            "backup \"20261105-020000F_20261106-020000D\" holds 1 pages with wrong checksums, the "
            "first in file \"base/5/100\", block 7");
  EXPECT_EQ(choose({}, &two_), full.label);
  EXPECT_EQ(choose({.kind = TargetKind::kName, .name = "x"}, &two_), full.label);
  EXPECT_EQ(choose(AtTime("2026-11-07 00:00:00+00"), &two_), full.label);
  EXPECT_EQ(choose({}, nullptr), full.label);
  EXPECT_EQ(choose({}, &two_, DoubtfulBackups::kTake), diff.label);
  // Rows that were written between the two backups would be lost.
  EXPECT_EQ(choose({.kind = TargetKind::kImmediate}, &two_), diff.label);

  // What a diff takes from its full is damaged like the full.
  diff.sources = {{full.label}};
  diff.checksum_failures = 0;
  full.checksum_failures = 2;
  EXPECT_EQ(choose({}, &two_), "promoted");
  EXPECT_EQ(WhyDoubtful(diff, backups),
            "backup \"20261105-020000F\" holds 2 pages with wrong checksums");

  // Nor can a backup be restored without one that it needs.
  full.checksum_failures = 0;
  diff.sources.push_back({"20261105-020000F_20261105-120000I"});
  EXPECT_EQ(WhyNotRestorable(diff, backups, {}),
            "diff \"20261105-020000F_20261106-020000D\" needs incr "
            "\"20261105-020000F_20261105-120000I\", which is missing or damaged");
  EXPECT_EQ(choose({}, &two_), full.label);
  diff.sources.pop_back();
  EXPECT_EQ(choose({}, &two_), diff.label);

  // A diff of version 0.1 without data checksums.
  full.checksum_failures = 0;
  diff.changes_by.clear();
  EXPECT_EQ(choose({}, &two_), full.label);

  // It is taken when no other backup leads to the same target.
  for (BackupSummary& backup : backups) {
    backup.checksum_failures = 1;
  }
  EXPECT_EQ(choose({}, &two_), diff.label);
  backups[0].checksum_failures = 0;
  EXPECT_EQ(choose({}, nullptr), diff.label) << "the good one is on another timeline";
  EXPECT_EQ(choose({}, &two_), "first");
}

TEST_F(ChooseBackupTest, NothingToChooseFrom) {
  EXPECT_EQ(ChooseBackup({}, {}, "", &two_, now_).error().code, ErrorCode::kNotFound);
  const std::vector<BackupSummary> only_abandoned = {backups_[3]};
  const auto none = ChooseBackup(only_abandoned, {}, "", &two_, now_);
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_NE(none.error().message.find("timeline 2"), std::string::npos);
}

}  // namespace
}  // namespace veza
