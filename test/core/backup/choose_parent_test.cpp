#include "core/backup/choose_parent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/backup/parent_index.h"
#include "core/limits.h"

namespace veza {
namespace {

using testing::HasSubstr;

BackupSummary Full(const char* label, Lsn stop) {
  BackupSummary full;
  full.label = label;
  full.system_identifier = 7;
  full.postgres_version_num = 150020;
  full.block_size = 8192;
  full.data_checksum_version = 1;
  full.timeline = 1;
  full.stop_lsn = stop;
  return full;
}

class ChooseParentTest : public testing::Test {
 protected:
  ChooseParentTest() {
    server_.system_identifier = 7;
    server_.postgres_major = 15;
    server_.block_size = 8192;
    server_.data_checksum_version = 1;
    server_.history.timeline = 1;
    catalog_.backups = {Full("20261101-020000F", Lsn{100}), Full("20261108-020000F", Lsn{200})};
    BackupSummary diff = Full("20261108-020000F_20261109-020000D", Lsn{300});
    diff.type = BackupType::kDiff;
    catalog_.backups.push_back(diff);
  }
  BackupSummary& newest() { return catalog_.backups[1]; }
  std::string Chosen() {
    const ParentChoice choice = ChooseParent(catalog_, server_, type_, damage_);
    return choice.parent ? choice.parent->label : "none: " + choice.reason;
  }

  BackupCatalog catalog_;
  ServerFit server_;
  LostParts damage_;
  BackupType type_ = BackupType::kDiff;
};

TEST_F(ChooseParentTest, TheNewestFullAndNoDiff) {
  EXPECT_EQ(Chosen(), "20261108-020000F");
}

// The clock of the node that made the newest was behind, and so is its label.
TEST_F(ChooseParentTest, WalSaysWhichIsTheNewest) {
  catalog_.backups.insert(catalog_.backups.begin(), Full("20261031-235000F", Lsn{250}));
  EXPECT_EQ(Chosen(), "20261031-235000F");
}

TEST_F(ChooseParentTest, AnOlderOneWhenTheNewestWillNotDo) {
  newest().checksum_failures = 1;
  EXPECT_EQ(Chosen(), "20261101-020000F");
}

TEST_F(ChooseParentTest, NotOneThatIsKnownAsDamaged) {
  for (const LostPart::By by : {LostPart::By::kRecord, LostPart::By::kDoubt}) {
    damage_ = {{newest().label, {.name = {}, .reason = "object \"pack\" is damaged", .by = by}}};
    EXPECT_EQ(Chosen(), "20261101-020000F");
    EXPECT_EQ(ChooseParent(catalog_, server_, type_, damage_).reason,
              "full backup \"20261108-020000F\" is not built on: object \"pack\" is damaged");
    damage_["20261101-020000F"] = damage_[newest().label];
    EXPECT_EQ(Chosen(),
              "none: full backup \"20261108-020000F\" is not built on: object \"pack\" is damaged");
  }
}

class ChooseParentOfIncrTest : public ChooseParentTest {
 protected:
  ChooseParentOfIncrTest() {
    type_ = BackupType::kIncr;
    diff().sources = {{newest().label, newest().manifest_sha256}};
  }
  BackupSummary& diff() { return catalog_.backups[2]; }
};

TEST_F(ChooseParentOfIncrTest, TheNewestOfAnyType) {
  EXPECT_EQ(Chosen(), "20261108-020000F_20261109-020000D");
  BackupSummary incr = Full("20261108-020000F_20261110-020000I", Lsn{400});
  incr.type = BackupType::kIncr;
  incr.sources = diff().sources;
  incr.sources.push_back({diff().label, diff().manifest_sha256});
  catalog_.backups.push_back(incr);
  EXPECT_EQ(Chosen(), incr.label);
  catalog_.backups.push_back(Full("20261111-020000F", Lsn{500}));
  EXPECT_EQ(Chosen(), "20261111-020000F");
}

TEST_F(ChooseParentOfIncrTest, NotOneThatHasLostWhatItNames) {
  diff().sources[0].manifest_sha256 = Sha256Of(AsBytes("another"));
  EXPECT_EQ(Chosen(), "20261108-020000F");
  const auto reason = [this] { return ChooseParent(catalog_, server_, type_, damage_).reason; };
  EXPECT_THAT(reason(), HasSubstr("\"20261108-020000F\", and another one is in its place"));
  diff().sources[0].manifest_sha256 = newest().manifest_sha256;
  catalog_.backups.erase(catalog_.backups.begin() + 1);
  EXPECT_EQ(Chosen(), "20261101-020000F");
  EXPECT_THAT(reason(), HasSubstr("\"20261108-020000F\", which is missing or damaged"));
}

TEST_F(ChooseParentOfIncrTest, NotOneThatNamesDamagedPages) {
  newest().checksum_failures = 1;
  EXPECT_EQ(Chosen(), "20261101-020000F");
}

TEST_F(ChooseParentOfIncrTest, NotOneThatNamesWhatIsKnownAsDamaged) {
  for (const LostPart::By by : {LostPart::By::kRecord, LostPart::By::kDoubt}) {
    damage_ = {{newest().label, {.name = {}, .reason = "a pack is damaged", .by = by}}};
    EXPECT_EQ(Chosen(), "20261101-020000F");
    EXPECT_EQ(ChooseParent(catalog_, server_, type_, damage_).reason,
              "diff \"20261108-020000F_20261109-020000D\" is not built on: full backup "
              "\"20261108-020000F\": a pack is damaged");
    damage_ = {{diff().label, {.name = {}, .reason = "a pack is damaged", .by = by}}};
    EXPECT_EQ(Chosen(), newest().label) << "which does not need the diff";
  }
}

// Otherwise the lists of all incrs together would not fit into memory.
TEST_F(ChooseParentOfIncrTest, NotOneThatNamesAsManyAsThereMayBe) {
  diff().sources.resize(limits::kSources, diff().sources[0]);
  EXPECT_EQ(Chosen(), "20261108-020000F");
  EXPECT_EQ(ChooseParent(catalog_, server_, type_, damage_).reason,
            "diff \"20261108-020000F_20261109-020000D\" names packs of 250 other backups");
  diff().sources.pop_back();
  EXPECT_EQ(ChooseParent(catalog_, server_, type_, damage_).reason, "");
  EXPECT_EQ(Chosen(), diff().label);
}

// Version 0.1 may have lost changes in it.
TEST_F(ChooseParentOfIncrTest, NotASuspectDiff) {
  for (BackupSummary& backup : catalog_.backups) {
    backup.data_checksum_version = 0;
  }
  server_.data_checksum_version = 0;
  EXPECT_EQ(Chosen(), "20261108-020000F");
  diff().changes_by = "digest";
  EXPECT_EQ(Chosen(), diff().label);
}

TEST_F(ChooseParentOfIncrTest, LsnsTellOfTheNewestBackupThatTheServerHasMade) {
  server_.hint_bits_logged = true;
  newest().manifest_sha256 = Sha256Of(AsBytes("full"));
  diff().manifest_sha256 = Sha256Of(AsBytes("diff"));
  diff().sources[0].manifest_sha256 = newest().manifest_sha256;
  const auto doubt = [this] { return ChooseParent(catalog_, server_, type_, damage_).doubt; };
  server_.own_full = newest().manifest_sha256;
  EXPECT_THAT(doubt(), HasSubstr("diff \"" + diff().label + "\" was not made by this server"));
  server_.own_newest = diff().manifest_sha256;
  EXPECT_EQ(doubt(), "");
}

TEST_F(ChooseParentTest, OfThisSystemOnly) {
  for (BackupSummary& backup : catalog_.backups) {
    backup.system_identifier = 8;
  }
  EXPECT_EQ(Chosen(), "none: there is no full backup");
  catalog_.backups.clear();
  EXPECT_EQ(Chosen(), "none: there is no full backup");
}

TEST_F(ChooseParentTest, TheReasonIsThatOfTheNewest) {
  server_.data_checksum_version = 0;
  EXPECT_EQ(Chosen(),
            "none: full backup \"20261108-020000F\" was made before data checksums were disabled");
  for (BackupSummary& backup : catalog_.backups) {
    backup.data_checksum_version = 0;
  }
  server_.data_checksum_version = 1;
  EXPECT_THAT(Chosen(), HasSubstr("before data checksums were enabled"));
  server_.postgres_major = 16;
  EXPECT_THAT(Chosen(), HasSubstr("is of PostgreSQL 15"));
}

TEST_F(ChooseParentTest, BlocksOfAnotherSize) {
  server_.block_size = 16384;
  EXPECT_THAT(Chosen(), HasSubstr("has blocks of 8192 bytes"));
}

// The timeline was left at LSN 150: the newest full backup is on a branch that this server did not
// take.
TEST_F(ChooseParentTest, OnTheWayToTheTimelineOfTheServer) {
  server_.history = TimelineHistory{2, {{1, Lsn{150}}}};
  EXPECT_EQ(Chosen(), "20261101-020000F");
  catalog_.backups.erase(catalog_.backups.begin());
  EXPECT_EQ(Chosen(),
            "none: full backup \"20261108-020000F\" ended at 0/C8 on timeline 1, which timeline 2 "
            "does not continue");
}

// A server that was put back has never had what came after. A standby waits until it has replayed
// it.
TEST_F(ChooseParentTest, NotFromAFutureThatIsNoMore) {
  server_.position = Lsn{200};
  EXPECT_EQ(Chosen(), "20261108-020000F");
  server_.position = Lsn{199};
  EXPECT_EQ(Chosen(), "20261101-020000F");
  server_.position = Lsn{99};
  EXPECT_EQ(
      Chosen(),
      "none: full backup \"20261108-020000F\" ended at 0/C8, but this server's WAL ends at 0/63: "
      "the server was reset to an earlier state");
}

TEST_F(ChooseParentTest, LsnsTellOnlyWhenItIsKnownThatTheyDo) {
  newest().manifest_sha256 = Sha256Of(AsBytes("newest"));
  const auto doubt = [this] { return ChooseParent(catalog_, server_, type_, damage_).doubt; };
  server_.own_full = newest().manifest_sha256;
  EXPECT_EQ(doubt(), "neither data checksums nor wal_log_hints are on");
  server_.hint_bits_logged = true;
  EXPECT_EQ(doubt(), "");
  server_.own_full.reset();
  EXPECT_THAT(doubt(), HasSubstr("\"20261108-020000F\" was not made by this server since"));
  server_.own_full = Sha256Of(AsBytes("another"));
  EXPECT_THAT(doubt(), HasSubstr("was not made by this server since"));
  // The newest cannot be used, and the older one is not the one that the server remembers.
  server_.own_full = newest().manifest_sha256;
  newest().checksum_failures = 1;
  EXPECT_THAT(doubt(), HasSubstr("\"20261101-020000F\" was not made by this server since"));
}

// A disk that cannot read one file must not be in the way of all incrs, but a store that is away
// is.
TEST(ParentDamage, IsWhatConcernsObjectsAlone) {
  for (const ErrorCode code : {ErrorCode::kDataCorrupted, ErrorCode::kNotFound,
                               ErrorCode::kUnsupported, ErrorCode::kWrongKey}) {
    EXPECT_TRUE(IsDamageOfParent(MakeError(code, "error"))) << ErrorCodeName(code);
  }
  for (const ErrorCode code :
       {ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded, ErrorCode::kCancelled,
        ErrorCode::kPermissionDenied, ErrorCode::kNoSpace, ErrorCode::kIo, ErrorCode::kInternal}) {
    EXPECT_FALSE(IsDamageOfParent(MakeError(code, "error"))) << ErrorCodeName(code);
  }
}

}  // namespace
}  // namespace veza
