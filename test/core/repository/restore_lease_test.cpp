#include "core/repository/restore_lease.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/lock_nodes.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Operation = FaultStore::Operation;

constexpr std::chrono::seconds kRounding{2};

class RestoreLeaseTest : public testing::Test {
 protected:
  RestoreLeaseTest() : node_(shared_, "node-r") {}

  std::unique_ptr<RestoreLease> Take() {
    return RestoreLease::Take(*node_, TestSummary(*shared_, kTestLabel), "restore").value();
  }
  void PassStoreTime(std::chrono::seconds time) { shared_.clock().Sleep(time, nullptr); }
  std::vector<LeaseState> Leases() { return ReadLeases(*shared_).value(); }
  bool IsAlive() { return Leases().at(0).alive; }

  TestRepository shared_{Cipher::kAes256Gcm};
  LockNode node_;  // its clock stands still
};

TEST_F(RestoreLeaseTest, NamesItsHolderAndWhatItNeeds) {
  EXPECT_THAT(Leases(), IsEmpty());
  const auto lease = Take();
  ASSERT_THAT(Leases(), SizeIs(1));
  const LeaseState state = Leases().front();
  EXPECT_EQ(state.name, lease->name());
  EXPECT_EQ(state.label, kTestLabel);
  EXPECT_TRUE(state.alive);
  ASSERT_TRUE(state.document);
  EXPECT_EQ(state.document->start_lsn, kTestStartLsn);
  EXPECT_EQ(state.document->start_wal, SegmentName(1, 3, kTestSegmentSize));
  EXPECT_EQ(state.document->system_identifier, kTestSystem);
  EXPECT_EQ(state.document->purpose, "restore");
  EXPECT_THAT(state.Holder(), HasSubstr("a restore on node \"node-r\" until 2026-11-22T02:10:01Z"));
  EXPECT_OK(lease->End());
  EXPECT_THAT(Leases(), IsEmpty());
}

// Only the store's time counts: the clock of the lease's process stands still.
TEST_F(RestoreLeaseTest, TheLeaseOfAKilledProcessLapses) {
  auto lease = Take();
  lease.reset();
  PassStoreTime(kCopyLease);
  EXPECT_TRUE(IsAlive());
  PassStoreTime(kRounding);
  EXPECT_FALSE(IsAlive());
  EXPECT_EQ(FindLease(Leases(), kTestLabel), nullptr);
}

TEST_F(RestoreLeaseTest, IsRenewedWhileTheCopyLasts) {
  const auto lease = Take();
  for (int i = 0; i < 20; ++i) {
    PassStoreTime(kCopyLease / 5);
    ASSERT_TRUE(Eventually([&] { return node_.clock().has_sleeper(); }));
    const TimePoint before = Leases().at(0).renewed;
    node_.clock().Advance(kCopyLease / 5);
    ASSERT_TRUE(Eventually([&] { return Leases().at(0).renewed > before; }));
  }
  EXPECT_TRUE(IsAlive());
}

TEST_F(RestoreLeaseTest, IsWrittenAgainAfterItHadLapsedAndWasRemoved) {
  const auto lease = Take();
  ASSERT_OK(shared_->store().Delete(lease->name()));
  ASSERT_TRUE(Eventually([&] { return node_.clock().has_sleeper(); }));
  node_.clock().Advance(kCopyLease / 5);
  EXPECT_TRUE(Eventually([&] { return !Leases().empty(); }));
}

TEST_F(RestoreLeaseTest, OutlivesTheCopyAndIsRenewedByOthers) {
  auto lease = Take();
  const std::string name = lease->name();
  ASSERT_OK(lease->KeepFor(kRecoveryLease));
  lease.reset();
  LockNode wal_get(shared_, "wal-get");
  for (int day = 0; day < 3; ++day) {
    PassStoreTime(kRecoveryLease - std::chrono::seconds(1));
    EXPECT_TRUE(IsAlive());
    EXPECT_OK(RenewLease(*wal_get, name));
  }
  EXPECT_EQ(Leases().at(0).document->node, "node-r");
  PassStoreTime(kRecoveryLease + kRounding);
  EXPECT_FALSE(IsAlive());
}

// Otherwise it would lapse within minutes, while the copied files are made durable.
TEST_F(RestoreLeaseTest, IsStillRenewedAfterItCouldNotBeProlonged) {
  const auto lease = Take();
  node_.store().SetHook([](FaultStore::Operation operation, std::string_view) {
    return operation == FaultStore::Operation::kPut
               ? Status(MakeError(ErrorCode::kPermissionDenied, "not now"))
               : Ok();
  });
  EXPECT_FALSE(lease->KeepFor(kRecoveryLease));
  node_.store().SetHook(nullptr);
  PassStoreTime(kCopyLease / 5);
  ASSERT_TRUE(Eventually([&] { return node_.clock().has_sleeper(); }));
  const TimePoint before = Leases().at(0).renewed;
  node_.clock().Advance(kCopyLease / 5);
  EXPECT_TRUE(Eventually([&] { return Leases().at(0).renewed > before; }));
  EXPECT_OK(lease->KeepFor(kRecoveryLease));
  PassStoreTime(kRecoveryLease - std::chrono::seconds(1));
  EXPECT_TRUE(IsAlive());
}

// Somebody has ended it, and does not want it back.
TEST_F(RestoreLeaseTest, AMissingLeaseIsNotRenewed) {
  auto lease = Take();
  ASSERT_OK(lease->End());
  EXPECT_OK(RenewLease(*shared_, lease->name()));
  EXPECT_THAT(Leases(), IsEmpty());
  EXPECT_ERROR(RenewLease(*shared_, "backup/20261122-020000F/backup.json"),
               ErrorCode::kInvalidArgument);
}

TEST_F(RestoreLeaseTest, TheLeaseOfADiffProtectsItsFullToo) {
  const std::string diff = DiffLabel(kTestLabel, kTestTime + std::chrono::hours(24));
  const auto lease = RestoreLease::Take(*node_, TestSummary(*shared_, diff), "drill").value();
  const std::vector<LeaseState> leases = Leases();
  EXPECT_NE(FindLease(leases, diff), nullptr);
  EXPECT_NE(FindLease(leases, kTestLabel), nullptr);
  EXPECT_EQ(FindLease(leases, DiffLabel(kTestLabel, kTestTime)), nullptr);
  EXPECT_EQ(FindLease(leases, FullLabel(kTestTime + std::chrono::hours(1))), nullptr);
}

// In doubt the backup is kept, but not for ever.
TEST_F(RestoreLeaseTest, AnUnreadableLeaseCountsAsOneOfADay) {
  const std::string name = LeaseName(kTestLabel, "0123456789abcdef");
  for (const char* const text : {"", "{\"format\":1}", "{\"format\":9}"}) {
    ASSERT_OK(PutSmall(shared_->store(), name, AsBytes(text), PutMode::kReplace));
    EXPECT_TRUE(IsAlive());
    EXPECT_FALSE(Leases().at(0).document);
    EXPECT_THAT(Leases().at(0).Holder(), HasSubstr("cannot be read"));
  }
  PassStoreTime(std::chrono::hours(24) + kRounding);
  EXPECT_FALSE(IsAlive());
}

// Our leases are never that large, so it is not even read.
TEST_F(RestoreLeaseTest, ALeaseThatIsTooLargeIsNotRead) {
  const std::string name = LeaseName(kTestLabel, "0123456789abcdef");
  const std::string text = SerializeLease({.label = kTestLabel,
                                           .system_identifier = kTestSystem,
                                           .start_lsn = kTestStartLsn,
                                           .start_wal = "000000010000000000000003",
                                           .node = std::string(20'000, 'n'),
                                           .purpose = "restore",
                                           .created = kTestTime,
                                           .lease = std::chrono::seconds(1)},
                                          name, shared_->seal_policy())
                               .value();
  ASSERT_OK(PutSmall(shared_->store(), name, AsBytes(text), PutMode::kReplace));
  PassStoreTime(std::chrono::hours(1));
  EXPECT_TRUE(IsAlive());
  EXPECT_FALSE(Leases().at(0).document);
  EXPECT_ERROR(RenewLease(*shared_, name), ErrorCode::kDataCorrupted);
}

// A lease that the store can no longer read must not stop expiry for ever.
TEST_F(RestoreLeaseTest, ALapsedLeaseIsNotRead) {
  auto lease = Take();
  lease.reset();
  node_.store().SetHook([](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kGet) {
      return MakeError(ErrorCode::kIo, "Input/output error");
    }
    return Ok();
  });
  EXPECT_ERROR(ReadLeases(*node_), ErrorCode::kIo);
  PassStoreTime(std::chrono::hours(24) + kRounding);
  const auto leases = ReadLeases(*node_);
  ASSERT_OK(leases);
  EXPECT_FALSE(leases->at(0).alive);
}

// Its file was touched, or the store's clock was set back. A living process soon renews its lease.
TEST_F(RestoreLeaseTest, ALeaseFromTheFutureIsNotKeptForEver) {
  auto lease = Take();
  lease.reset();
  PassStoreTime(std::chrono::hours(-23));
  EXPECT_TRUE(IsAlive());
  PassStoreTime(std::chrono::hours(-2));
  EXPECT_FALSE(IsAlive());
}

TEST_F(RestoreLeaseTest, ACopyUnderAnotherNameIsNotALease) {
  const auto lease = Take();
  const Bytes text = GetSmall(shared_->store(), lease->name(), 16U << 10).value();
  const std::string other =
      LeaseName(FullLabel(kTestTime + std::chrono::hours(1)), "00000000000000ff");
  EXPECT_ERROR(ParseLease(AsText(text), other, shared_->seal_policy()), ErrorCode::kDataCorrupted);
}

TEST_F(RestoreLeaseTest, ErrorsOfTheStoreArePassedOn) {
  node_.store().SetHook([](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kPut) {
      return MakeError(ErrorCode::kPermissionDenied, "AccessDenied");
    }
    return Ok();
  });
  EXPECT_ERROR(RestoreLease::Take(*node_, TestSummary(*shared_, kTestLabel), "restore"),
               ErrorCode::kPermissionDenied);
}

TEST(LeaseNameTest, NamesALabelAndNothingElse) {
  EXPECT_EQ(ParseLeaseName("lease/20261122-020000F.0123456789abcdef"), "20261122-020000F");
  EXPECT_EQ(ParseLeaseName("lease/20261122-020000F_20261123-020000D.0123456789abcdef"),
            "20261122-020000F_20261123-020000D");
  for (const char* const name :
       {"lease/20261122-020000F", "lease/x.0123456789abcdef", "lease/20261122-020000F.0123",
        "lease/20261122-020000F.0123456789ABCDEF", "pin/20261122-020000F.0123456789abcdef"}) {
    EXPECT_FALSE(ParseLeaseName(name)) << name;
  }
}

}  // namespace
}  // namespace veza
