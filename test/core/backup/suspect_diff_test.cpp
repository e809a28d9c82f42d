#include "core/backup/suspect_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace veza {
namespace {

BackupSummary OldDiff() {
  BackupSummary diff;
  diff.label = "20261122-020000F_20261123-020000D";
  diff.type = BackupType::kDiff;
  return diff;
}

TEST(SuspectDiff, IsAnOldOneWithoutChecksums) {
  EXPECT_THAT(SuspectDiff(OldDiff()), testing::HasSubstr(OldDiff().label));
}

// The settings at the two backups say nothing about the time between them.
TEST(SuspectDiff, IsOneWithWalLogHintsAsWell) {
  BackupSummary diff = OldDiff();
  diff.settings["wal_log_hints"] = "on";
  EXPECT_NE(SuspectDiff(diff), "");
}

TEST(SuspectDiff, IsNoneOfAClusterWithChecksums) {
  BackupSummary diff = OldDiff();
  diff.data_checksum_version = 1;
  EXPECT_EQ(SuspectDiff(diff), "");
}

TEST(SuspectDiff, IsNoneThatSaysHowItFoundChanges) {
  for (const char* const changes_by : {"lsn", "digest", "a later way"}) {
    BackupSummary diff = OldDiff();
    diff.changes_by = changes_by;
    EXPECT_EQ(SuspectDiff(diff), "") << changes_by;
  }
}

TEST(SuspectDiff, IsNoFull) {
  BackupSummary full = OldDiff();
  full.type = BackupType::kFull;
  EXPECT_EQ(SuspectDiff(full), "");
}

}  // namespace
}  // namespace veza
