#include "core/repository/slot_claim.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/lock_nodes.h"

namespace veza {
namespace {

using testing::HasSubstr;

// Nodes of a formation. kTestTime is a Sunday at 02:00 UTC.
class SlotClaimTest : public testing::Test {
 protected:
  SlotClaimTest() {
    settings_.full = Schedule::Parse("0 2 * * 0", settings_.zone).value();
    settings_.diff = Schedule::Parse("0 2 * * *", settings_.zone).value();
  }

  std::unique_ptr<ClusterLock> Lock(LockNode& node,
                                    const std::string& purpose = PurposeOf(BackupType::kFull)) {
    return node.Acquire(purpose).value();
  }
  LockState State() { return ReadLockState(*shared_).value(); }
  SlotRecord Slot(const std::string& kind) { return State().slots[kind]; }

  TestRepository shared_{Cipher::kAes256Gcm};
  LockNode a_{shared_, "db-a:5432"};
  LockNode b_{shared_, "db-b:5432"};
  ScheduleSettings settings_;
  SlotClaim full_{ScheduleKind::kFull, kTestTime, 1};
};

TEST_F(SlotClaimTest, TellsWhatTheLockIsUsedFor) {
  EXPECT_EQ(LockUseOf(State()), LockUse::kFree);
  auto lock = Lock(a_);
  EXPECT_EQ(LockUseOf(State()), LockUse::kFullBackup);
  ASSERT_OK(lock->Release());
  EXPECT_EQ(LockUseOf(State()), LockUse::kFree);
  lock = Lock(a_, PurposeOf(BackupType::kDiff));
  EXPECT_EQ(LockUseOf(State()), LockUse::kDiffBackup);
  ASSERT_OK(lock->Release());
  lock = Lock(a_, PurposeOf(BackupType::kIncr));
  EXPECT_EQ(LockUseOf(State()), LockUse::kOther);
}

TEST_F(SlotClaimTest, ASlotIsClaimedOnce) {
  auto lock = Lock(a_);
  ASSERT_OK(ClaimSlot(*lock, full_));
  EXPECT_EQ(Slot("full").state, SlotState::kRunning);
  EXPECT_EQ(Slot("full").node, "db-a:5432");
  ASSERT_OK(lock->SetSlot("full", OutcomeOf(full_, SlotState::kSucceeded, "a-label", "")));
  ASSERT_OK(lock->Release());

  lock = Lock(b_);
  const Status late = ClaimSlot(*lock, full_);
  EXPECT_ERROR(late, ErrorCode::kAlreadyExists);
  EXPECT_THAT(late.error().message, HasSubstr("node \"db-a:5432\""));
  EXPECT_EQ(Slot("full").label, "a-label");
}

TEST_F(SlotClaimTest, AFailedSlotIsClaimedByTheNextAttempt) {
  auto lock = Lock(a_);
  ASSERT_OK(ClaimSlot(*lock, full_));
  ASSERT_OK(lock->SetSlot("full", OutcomeOf(full_, SlotState::kFailed, "", "no space")));
  ASSERT_OK(lock->Release());
  EXPECT_EQ(Slot("full").error, "no space");

  lock = Lock(b_);
  EXPECT_ERROR(ClaimSlot(*lock, full_), ErrorCode::kAlreadyExists);
  full_.attempt = 2;
  ASSERT_OK(ClaimSlot(*lock, full_));
  EXPECT_EQ(Slot("full").attempts, 2);
  EXPECT_EQ(Slot("full").node, "db-b:5432");
}

TEST_F(SlotClaimTest, AFullSkipsTheDiffsThatComeDueWhileItRuns) {
  auto lock = Lock(a_);
  ASSERT_OK(SkipReplaced(*lock, BackupType::kFull, settings_, kTestTime));
  EXPECT_FALSE(State().slots.contains("diff")) << "there is no baseline";
  SlotRecord baseline;
  baseline.slot = kTestTime - std::chrono::hours(1);
  ASSERT_OK(lock->SetSlot("diff", baseline));

  ASSERT_OK(SkipReplaced(*lock, BackupType::kFull, settings_, kTestTime));
  EXPECT_EQ(Slot("diff").state, SlotState::kSkipped);
  EXPECT_EQ(Slot("diff").slot, kTestTime);
  EXPECT_EQ(Slot("diff").node, "db-a:5432");
  ASSERT_OK(SkipReplaced(*lock, BackupType::kFull, settings_, kTestTime + std::chrono::hours(25)));
  EXPECT_EQ(lock->slots().at("diff").slot, kTestTime + std::chrono::hours(24));
}

TEST_F(SlotClaimTest, ABaselineIsRecordedOnce) {
  ASSERT_OK(RecordBaselines(*a_, {ScheduleKind::kDiff}));
  EXPECT_EQ(Slot("diff").slot, kTestTime);
  EXPECT_EQ(Slot("diff").state, SlotState::kNone);
  b_.clock().Advance(std::chrono::hours(1));
  ASSERT_OK(RecordBaselines(*b_, {ScheduleKind::kFull, ScheduleKind::kDiff}));
  EXPECT_EQ(Slot("diff").slot, kTestTime);
  EXPECT_EQ(Slot("full").slot, kTestTime + std::chrono::hours(1));
  EXPECT_FALSE(State().held);
}

// A clock was ahead, and was put right.
TEST_F(SlotClaimTest, ASlotOfATimeToComeDoesNotEndTheSchedule) {
  auto lock = Lock(a_);
  SlotRecord record;
  record.slot = kTestTime + std::chrono::hours(24 * 400);
  record.state = SlotState::kSucceeded;
  ASSERT_OK(lock->SetSlot("full", record));
  record.slot = kTestTime + std::chrono::minutes(30);
  ASSERT_OK(lock->SetSlot("diff", record));
  ASSERT_OK(lock->Release());
  EXPECT_FALSE(State().slots.contains("full"));
  EXPECT_EQ(Slot("diff").slot, kTestTime + std::chrono::minutes(30)) << "clocks differ a little";

  ASSERT_OK(RecordBaselines(*b_, {ScheduleKind::kFull, ScheduleKind::kDiff}));
  EXPECT_EQ(Slot("full").slot, kTestTime);
  EXPECT_EQ(Slot("full").state, SlotState::kNone);
  lock = Lock(b_);
  full_.slot = kTestTime + std::chrono::hours(2);
  EXPECT_OK(ClaimSlot(*lock, full_));
}

// Its own clock is a day ahead of the store's.
TEST_F(SlotClaimTest, ABaselineIsByTheStoresClockIfTheNodesIsWrong) {
  b_.clock().Advance(std::chrono::hours(24));
  ASSERT_OK(RecordBaselines(*b_, {ScheduleKind::kDiff}));
  EXPECT_EQ(Slot("diff").slot, State().now);
  EXPECT_EQ(PlanningTime(kTestTime + std::chrono::hours(24), kTestTime), kTestTime);
  EXPECT_EQ(PlanningTime(kTestTime - std::chrono::hours(24), kTestTime), kTestTime);
  EXPECT_EQ(PlanningTime(kTestTime + std::chrono::minutes(59), kTestTime),
            kTestTime + std::chrono::minutes(59));
  EXPECT_EQ(PlanningTime(kTestTime, TimePoint()), kTestTime) << "it is not known";
}

// The nodes of a formation learn of a new schedule at the same moment.
TEST_F(SlotClaimTest, ABaselineThatAnotherNodeIsAboutToRecordIsWaitedFor) {
  auto lock = Lock(a_, "start of the schedules");
  Status status = Ok();
  std::thread waiting([&] { status = RecordBaselines(*b_, {ScheduleKind::kDiff}); });
  while (!b_.clock().has_sleeper()) {
    std::this_thread::yield();
  }
  SlotRecord baseline;
  baseline.slot = kTestTime;
  ASSERT_OK(lock->SetSlot("diff", baseline));
  b_.clock().Advance(std::chrono::seconds(1));
  waiting.join();
  EXPECT_OK(status);
  EXPECT_EQ(Slot("diff").node, "db-a:5432");
  EXPECT_TRUE(State().held) << "the lock was not needed";
}

TEST_F(SlotClaimTest, ALockThatSomebodyKeepsFailsABaseline) {
  const auto lock = Lock(a_);
  Status status = Ok();
  std::atomic<bool> done = false;
  std::thread waiting([&] {
    status = RecordBaselines(*b_, {ScheduleKind::kDiff});
    done = true;
  });
  while (!done) {
    b_.clock().Advance(std::chrono::milliseconds(100));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  waiting.join();
  EXPECT_ERROR(status, ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(State().slots.contains("diff"));
}

}  // namespace
}  // namespace veza
