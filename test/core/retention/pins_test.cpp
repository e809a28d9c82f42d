#include "core/retention/pins.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/cluster_lock.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kDiff = "20261122-020000F_20261123-020000D";

class PinsTest : public testing::Test {
 protected:
  PinsTest() {
    for (const char* label : {kTestLabel, kDiff}) {
      BackupSummary summary = TestSummary(*repository_, label);
      summary.type = ParseLabel(label)->type;
      WriteText(repository_.PathOf(BackupDocumentName(label)),
                SerializeSummary(summary, repository_->seal_policy()).value());
    }
  }
  TestRepository repository_{Cipher::kAes256Gcm};
};

TEST_F(PinsTest, AreAddedAndRemoved) {
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
  EXPECT_OK(PinBackup(*repository_, kTestLabel));
  EXPECT_OK(PinBackup(*repository_, kTestLabel));
  EXPECT_THAT(ReadPins(*repository_).value(), ElementsAre(kTestLabel));
  EXPECT_THAT(ReadText(repository_.PathOf(PinName(kTestLabel))), HasSubstr("node-a"));
  EXPECT_OK(UnpinBackup(*repository_, kTestLabel));
  EXPECT_OK(UnpinBackup(*repository_, kTestLabel));
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
}

TEST_F(PinsTest, ADiffPinsItsFull) {
  EXPECT_OK(PinBackup(*repository_, kDiff));
  EXPECT_TRUE(IsPinned(*repository_, kDiff).value());
  EXPECT_TRUE(IsPinned(*repository_, kTestLabel).value());
  EXPECT_OK(UnpinBackup(*repository_, kDiff));
  EXPECT_OK(PinBackup(*repository_, kTestLabel));
  EXPECT_FALSE(IsPinned(*repository_, kDiff).value());
}

TEST_F(PinsTest, OnlyBackupsThatExist) {
  for (const auto& change : {PinBackup, UnpinBackup}) {
    const Status unknown = change(*repository_, "20261124-020000F");
    EXPECT_ERROR(unknown, ErrorCode::kNotFound);
    EXPECT_THAT(unknown.error().hint, HasSubstr(kTestLabel));
    EXPECT_ERROR(change(*repository_, "latest"), ErrorCode::kInvalidArgument);
  }
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
}

TEST_F(PinsTest, APinMayOutliveItsBackup) {
  ASSERT_OK(PinBackup(*repository_, kTestLabel));
  ASSERT_OK(repository_->store().Delete(BackupDocumentName(kTestLabel)));
  EXPECT_OK(UnpinBackup(*repository_, kTestLabel));
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
}

// The backup is deleted between the check and the pin.
TEST_F(PinsTest, APinThatComesTooLateFails) {
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with(kPinPrefix)) {
      std::filesystem::remove(repository_.PathOf(BackupDocumentName(kTestLabel)));
    }
    return Ok();
  });
  EXPECT_ERROR(PinBackup(*repository_, kTestLabel), ErrorCode::kNotFound);
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
}

// The store stops to answer right after the pin was stored. Nobody knows whether the backup is
// there.
TEST_F(PinsTest, APinStaysWhenTheBackupCannotBeLookedAt) {
  for (int time = 1; time <= 2; ++time) {
    bool is_put = false;
    repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
      const bool is_lost = is_put && operation == FaultStore::Operation::kGet;
      is_put = is_put || (operation == FaultStore::Operation::kPut && name.starts_with(kPinPrefix));
      return is_lost ? Status(MakeError(ErrorCode::kUnavailable, "no answer")) : Ok();
    });
    const Status pinned = PinBackup(*repository_, kTestLabel);
    repository_.store().SetHook({});
    EXPECT_ERROR(pinned, ErrorCode::kUnavailable);
    EXPECT_THAT(pinned.error().message, HasSubstr("has its pin"));
    EXPECT_THAT(ReadPins(*repository_).value(), ElementsAre(kTestLabel));
  }
}

// Somebody has pinned it long before, and the backup goes all the same while it is pinned again.
TEST_F(PinsTest, OnlyThePinOfThisCallIsTakenBack) {
  ASSERT_OK(PinBackup(*repository_, kTestLabel));
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with(kPinPrefix)) {
      std::filesystem::remove(repository_.PathOf(BackupDocumentName(kTestLabel)));
    }
    return Ok();
  });
  EXPECT_ERROR(PinBackup(*repository_, kTestLabel), ErrorCode::kNotFound);
  EXPECT_THAT(ReadPins(*repository_).value(), ElementsAre(kTestLabel));
}

// A policy without lock/, for example.
TEST_F(PinsTest, WhyThereIsNoLockIsTold) {
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kPut && name.starts_with("lock/")
               ? Status(MakeError(ErrorCode::kPermissionDenied, "403"))
               : Ok();
  });
  const auto pinned = PinBackupUnderLock(*repository_, kTestLabel);
  ASSERT_OK(pinned);
  EXPECT_EQ(pinned->not_locked.value().code, ErrorCode::kPermissionDenied);
  EXPECT_FALSE(pinned->not_released);
  EXPECT_THAT(ReadPins(*repository_).value(), ElementsAre(kTestLabel));
}

// By a real clock: by the test clock, which runs fast, the lease may be over, and nothing is left
// to release.
TEST_F(PinsTest, ALockThatCannotBeReleasedIsTold) {
  const Environment environment;
  const auto store = std::make_shared<FaultStore>(
      MakeLocalStore(repository_.Scratch("repository"), environment, environment.clock).value());
  const auto repository = Repository::Open(store, repository_.options(), environment).value();
  bool is_pinned = false;
  store->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    is_pinned =
        is_pinned || (operation == FaultStore::Operation::kPut && name.starts_with(kPinPrefix));
    return is_pinned && operation == FaultStore::Operation::kPut && name.starts_with("lock/")
               ? Status(MakeError(ErrorCode::kPermissionDenied, "403"))
               : Ok();
  });
  const auto pinned = PinBackupUnderLock(*repository, kTestLabel);
  ASSERT_OK(pinned);
  ASSERT_TRUE(pinned->not_released);
  EXPECT_EQ(pinned->not_released->code, ErrorCode::kPermissionDenied);
  EXPECT_THAT(ReadPins(*repository_).value(), ElementsAre(kTestLabel));
}

// While nobody else has the lock, no expiry has looked for pins before this one was there.
TEST_F(PinsTest, ThePinTakesTheLockIfItIsFree) {
  EXPECT_ERROR(PinBackupUnderLock(*repository_, "20261124-020000F"), ErrorCode::kNotFound);
  ASSERT_OK(ReadLockState(*repository_));
  EXPECT_EQ(ReadLockState(*repository_)->epoch, 0U) << "nothing was written";
  std::string purpose;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with(kPinPrefix)) {
      const Result<LockState> state = ReadLockState(*repository_);
      purpose = state ? state->purpose : state.error().message;
    }
    return Ok();
  });
  const auto pinned = PinBackupUnderLock(*repository_, kTestLabel);
  ASSERT_OK(pinned);
  EXPECT_FALSE(pinned->not_locked || pinned->not_released);
  EXPECT_EQ(purpose, "pin of a backup");
  ASSERT_OK(ReadLockState(*repository_));
  EXPECT_FALSE(ReadLockState(*repository_)->alive);

  const auto acquired = ClusterLock::Acquire(*repository_, {.purpose = "full backup"});
  ASSERT_OK(acquired);
  const auto& lock = *acquired;
  const auto meanwhile = PinBackupUnderLock(*repository_, kDiff);
  ASSERT_OK(meanwhile);
  EXPECT_THAT(meanwhile->not_locked.value().message, HasSubstr("is at work"));
  EXPECT_TRUE(IsPinned(*repository_, kDiff).value()) << "it is pinned all the same";
  EXPECT_TRUE(lock->RequireHeld());
}

}  // namespace
}  // namespace veza
