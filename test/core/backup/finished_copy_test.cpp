#include "core/backup/finished_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/archive/gap_record.h"
#include "core/repository/key_wraps.h"
#include "core/repository/lock_nodes.h"
#include "core/repository/manifest.h"
#include "core/repository/test_backup.h"
#include "core/retention/retention.h"

namespace veza {
namespace {

using testing::SizeIs;

class FinishedCopyTest : public testing::Test {
 protected:
  FinishedCopyTest() : node_(repository_, "node-a") {
    summary_ = TestSummary(*repository_, kTestLabel);
    wanted_.system_identifier = kTestSystem;
    wanted_.timeline = 1;
    wanted_.position = kTestStopLsn;
    wanted_.data_checksum_version = summary_.data_checksum_version;
  }

  void Have(const std::string& name) {
    ASSERT_OK(PutSmall(repository_->store(), name, AsBytes("x"), PutMode::kCreate));
  }
  void HaveCopy() {
    Have(PackName(summary_.label, 1));
    ManifestWriter manifest(*repository_, summary_.label);
    PackRecord pack;
    pack.number = 1;
    pack.size = 1;
    ASSERT_OK(manifest.Add(pack));
    if (summary_.type == BackupType::kDiff) {
      Have(PackName(summary_.full_label(), 1));
      pack.source = 1;
      ASSERT_OK(manifest.Add(pack));
    }
    const auto stored = manifest.Commit();
    ASSERT_OK(stored);
    summary_.manifest_size = stored->size;
    summary_.manifest_sha256 = stored->sha256;
    const auto own = StoreFinishedCopy(*repository_, summary_);
    ASSERT_OK(own);
    wanted_.own = *own;
  }
  void Replace(const std::string& name, const std::string& content) {
    ASSERT_OK(repository_->store().Delete(name));
    ASSERT_OK(PutSmall(repository_->store(), name, AsBytes(content), PutMode::kCreate));
  }
  std::optional<BackupSummary> Find() {
    return FindFinishedCopy(*repository_, ReadBackupCatalog(*repository_).value(), wanted_).value();
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  LockNode node_;
  BackupSummary summary_;
  CopyWanted wanted_;
};

TEST_F(FinishedCopyTest, BecomesTheBackupThatItsMakerWanted) {
  HaveCopy();
  // For everybody else it is an unfinished backup.
  EXPECT_THAT(ReadBackupCatalog(*repository_).value().unfinished, SizeIs(1));
  const auto found = Find();
  ASSERT_TRUE(found);
  EXPECT_EQ(SerializeSummary(*found, repository_->seal_policy()).value(),
            SerializeSummary(summary_, repository_->seal_policy()).value());
  ASSERT_OK(RequireWholeCopy(*repository_, *found));
  EXPECT_ERROR(CommitFinishedCopy(*repository_, *found, Sha256Of(AsBytes("another's")), Ok),
               ErrorCode::kFailedPrecondition);
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  const std::string text = ReadText(identity);
  std::filesystem::remove(identity);
  EXPECT_ERROR(CommitFinishedCopy(*repository_, *found, *wanted_.own, Ok),
               ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
  WriteText(identity, text);
  const auto lost = [] {
    return Status(MakeError(ErrorCode::kFailedPrecondition, "the lock is lost"));
  };
  EXPECT_ERROR(CommitFinishedCopy(*repository_, *found, *wanted_.own, lost),
               ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
  // The copies of the wraps are those of now.
  ASSERT_OK(AddPassphrase(*repository_, "in the safe, and long", ""));
  summary_.key_wraps = WrapsToCopy(*repository_).value();
  EXPECT_THAT(summary_.key_wraps, SizeIs(2));
  ASSERT_OK(CommitFinishedCopy(*repository_, *found, *wanted_.own, Ok));
  const Bytes document =
      GetSmall(repository_->store(), BackupDocumentName(kTestLabel), 16U << 20).value();
  EXPECT_EQ(AsText(document), SerializeSummary(summary_, repository_->seal_policy()).value());
  EXPECT_FALSE(repository_.Exists(FinishedCopyName(kTestLabel)));
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, OnlyOneThatTheServerCanCompleteWillDo) {
  HaveCopy();
  const CopyWanted right = wanted_;
  ASSERT_TRUE(Find());
  wanted_.timeline = 2;
  EXPECT_FALSE(Find());
  wanted_ = right;
  wanted_.system_identifier = 42;
  EXPECT_FALSE(Find());
  wanted_ = right;
  wanted_.position = Lsn{kTestStopLsn.value - 1};  // the storage was rolled back
  EXPECT_FALSE(Find());
  wanted_ = right;
  wanted_.type = BackupType::kDiff;
  EXPECT_FALSE(Find());
  wanted_ = right;
  wanted_.data_checksum_version = 0;  // checksums were switched off
  EXPECT_FALSE(Find());
  wanted_ = right;
  repository_.clock().Sleep(std::chrono::hours(24), nullptr);
  EXPECT_TRUE(Find());
  repository_.clock().Sleep(std::chrono::seconds(2), nullptr);
  EXPECT_FALSE(Find());
}

// A token that has ended says nothing about the copy, which took hours.
TEST_F(FinishedCopyTest, RefusedCredentialsDoNotMakeItUseless) {
  HaveCopy();
  const BackupCatalog catalog = ReadBackupCatalog(*repository_).value();
  for (const std::string& name : {FinishedCopyName(kTestLabel), ManifestName(kTestLabel)}) {
    repository_.store().SetHook([&](auto, std::string_view asked) -> Status {
      return asked != name ? Ok()
                           : Status(MakeError(ErrorCode::kCredentials, "the token has expired"));
    });
    EXPECT_ERROR(FindFinishedCopy(*repository_, catalog, wanted_), ErrorCode::kCredentials);
    if (name == ManifestName(kTestLabel)) {
      const Status whole = RequireWholeCopy(*repository_, summary_);
      ASSERT_FALSE(whole);
      EXPECT_TRUE(LeavesCopyOpen(whole.error()));
    }
    repository_.store().SetHook(nullptr);
  }
  EXPECT_TRUE(Find());
}

// Everything else may be the same: another node, or a machine that was put back, may have other
// WAL.
TEST_F(FinishedCopyTest, OnlyItsMakerCompletesIt) {
  HaveCopy();
  wanted_.own = Sha256Of(AsBytes("another's"));
  EXPECT_FALSE(Find());
  wanted_.own.reset();
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, ADamagedDataDirectoryIsCopiedAgain) {
  summary_.checksum_failures = 1;
  HaveCopy();
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, AManifestThatIsNotThereMakesItUseless) {
  HaveCopy();
  Replace(ManifestName(kTestLabel), "x");
  EXPECT_FALSE(Find());
  ASSERT_OK(repository_->store().Delete(ManifestName(kTestLabel)));
  EXPECT_FALSE(Find());
  EXPECT_ERROR(RequireWholeCopy(*repository_, summary_), ErrorCode::kDataCorrupted);
}

TEST_F(FinishedCopyTest, APackThatIsNotThereMakesItUseless) {
  HaveCopy();
  Replace(PackName(kTestLabel, 1), "xx");
  EXPECT_FALSE(Find());
  EXPECT_ERROR(RequireWholeCopy(*repository_, summary_), ErrorCode::kDataCorrupted);
  Replace(PackName(kTestLabel, 1), "x");
  EXPECT_TRUE(Find());
  ASSERT_OK(repository_->store().Delete(PackName(kTestLabel, 1)));
  EXPECT_FALSE(Find());
  EXPECT_ERROR(RequireWholeCopy(*repository_, summary_), ErrorCode::kDataCorrupted);
}

// A backup that is taken because of a gap must begin behind it.
TEST_F(FinishedCopyTest, AGapFromItsStartOnMakesItUseless) {
  HaveCopy();
  const auto segment = [](TimelineId timeline, SegmentNumber number) {
    return SegmentName(timeline, number, kTestSegmentSize);
  };
  const auto have_gap = [&](const std::string& first, const std::string& last) {
    ASSERT_OK(RecordGap(*repository_, kTestSystem, {first, last}));
  };
  const SegmentNumber start = SegmentOf(kTestStartLsn, kTestSegmentSize);
  have_gap(segment(1, start - 2), segment(1, start - 1));
  have_gap(segment(2, start), segment(2, start + 9));
  EXPECT_TRUE(Find());
  have_gap(segment(1, start + 7), segment(1, start + 8));
  EXPECT_FALSE(Find());
  const std::string gap = GapName(kTestSystem, segment(1, start + 7), segment(1, start + 8));
  ASSERT_OK(repository_->store().Delete(gap));
  EXPECT_TRUE(Find());
  ASSERT_OK(RecordMinimal(*repository_, kTestSystem, segment(1, start + 1), kTestStopLsn));
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, ADiffNeedsTheFullThatWouldBeChosenNow) {
  const BackupSummary full = summary_;
  summary_ = TestSummary(*repository_, DiffLabel(kTestLabel, kTestTime + std::chrono::hours(24)));
  HaveCopy();
  wanted_.type = BackupType::kDiff;
  EXPECT_FALSE(Find());
  BackupSummary chosen = full;
  wanted_.parent = &chosen;
  EXPECT_FALSE(Find());
  chosen.manifest_sha256 = summary_.sources[0].manifest_sha256;
  EXPECT_TRUE(Find());
  chosen.label = FullLabel(kTestTime + std::chrono::hours(1));
  EXPECT_FALSE(Find());
  chosen.label = kTestLabel;
  EXPECT_TRUE(Find());
  ASSERT_OK(repository_->store().Delete(PackName(kTestLabel, 1)));
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, ANewerBackupMakesItSuperfluous) {
  HaveCopy();
  BackupSummary newer = TestSummary(*repository_, FullLabel(kTestTime + std::chrono::hours(1)));
  ASSERT_OK(PutSmall(repository_->store(), BackupDocumentName(newer.label),
                     AsBytes(SerializeSummary(newer, repository_->seal_policy()).value()),
                     PutMode::kCreate));
  EXPECT_FALSE(Find());
}

// It is not a backup.json: nobody can make one by copying it.
TEST_F(FinishedCopyTest, IsNoBackupUnderAnotherName) {
  HaveCopy();
  const Bytes text =
      GetSmall(repository_->store(), FinishedCopyName(kTestLabel), 16U << 20).value();
  EXPECT_ERROR(ParseSummary(AsText(text), kTestLabel, repository_->seal_policy()),
               ErrorCode::kDataCorrupted);
}

TEST_F(FinishedCopyTest, ADamagedOneIsLeftAlone) {
  Have(PackName(kTestLabel, 1));
  Have(FinishedCopyName(kTestLabel));
  wanted_.own = Sha256Of(AsBytes("x"));
  EXPECT_FALSE(Find());
}

TEST_F(FinishedCopyTest, ItsMakerRemovesItAsAWhole) {
  HaveCopy();
  for (std::uint32_t pack = 2; pack < 20; ++pack) {
    Have(PackName(kTestLabel, pack));
  }
  const std::string other = FullLabel(kTestTime + std::chrono::hours(1));
  Have(PackName(other, 1));
  const auto lock = node_.Acquire().value();
  ASSERT_OK(RemoveCopy(*node_, kTestLabel, *lock, 4));
  EXPECT_FALSE(repository_.Exists("backup/" + std::string(kTestLabel)));
  EXPECT_TRUE(repository_.Exists(PackName(other, 1)));
}

TEST_F(FinishedCopyTest, NeverABackupAndNeverWithoutTheLock) {
  HaveCopy();
  LockNode other(repository_, "node-b");
  auto lock = node_.Acquire().value();
  repository_.clock().Sleep(std::chrono::minutes(3), nullptr);
  const auto taken = other.Acquire().value();
  EXPECT_ERROR(RemoveCopy(*node_, kTestLabel, *lock), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(Find());
  ASSERT_OK(CommitFinishedCopy(*repository_, summary_, *wanted_.own, Ok));
  EXPECT_ERROR(RemoveCopy(*other, kTestLabel, *taken), ErrorCode::kInternal);
  EXPECT_TRUE(repository_.Exists(PackName(kTestLabel, 1)));
}

}  // namespace
}  // namespace veza
