#include "core/repository/cluster_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "core/codec/document.h"
#include "core/process_identity.h"
#include "core/repository/lock_nodes.h"
#include "core/storage/forwarding_store.h"
#include "core/storage/overwriting_store.h"
#include "core/storage/retrying_store.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::chrono::seconds kLease = ClusterLockOptions{}.lease;

class ClusterLockTest : public testing::Test {
 protected:
  void PassStoreTime(std::chrono::milliseconds time) { shared_.clock().Sleep(time, nullptr); }
  LockState State() { return ReadLockState(*shared_).value(); }
  std::vector<std::string> LockNames() {
    std::vector<std::string> names;
    EXPECT_OK(shared_->store().List(kLockPrefix, "", [&](const ObjectInfo& object) {
      names.push_back(object.name);
      return Ok();
    }));
    return names;
  }

  // Stores the object with the store's time.
  void Put(const std::string& name, std::string_view text) {
    EXPECT_OK(PutSmall(shared_->store(), name, AsBytes(text), PutMode::kReplace));
  }

  TestRepository shared_{Cipher::kAes256Gcm};
};

TEST_F(ClusterLockTest, ANewRepositoryHasNoLock) {
  const LockState state = State();
  EXPECT_EQ(state.epoch, 0U);
  EXPECT_FALSE(state.held);
  EXPECT_FALSE(state.alive);
}

TEST_F(ClusterLockTest, OneNodeHoldsItAndTheOthersAreToldWhich) {
  LockNode a(shared_, "db-a:5432");
  LockNode b(shared_, "db-b:5432");
  const auto lock = a.Acquire("full backup");
  ASSERT_OK(lock);
  EXPECT_OK((*lock)->RequireHeld());
  const auto refused = b.Acquire();
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr("node \"db-a:5432\""), HasSubstr("full backup"),
                    HasSubstr("since 2026-11-22T02:00:00Z")));
  EXPECT_THAT(refused.error().hint, HasSubstr("120 s"));

  const LockState state = State();
  EXPECT_EQ(state.epoch, 1U);
  EXPECT_TRUE(state.held);
  EXPECT_TRUE(state.alive);
  EXPECT_EQ(state.node, "db-a:5432");
  EXPECT_EQ(state.purpose, "full backup");
  EXPECT_EQ(state.acquired, kTestTime);
  EXPECT_EQ(state.renewed, kTestTime);
}

TEST_F(ClusterLockTest, ReleaseLetsTheNextOneInAndKeepsTheSlots) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  auto lock = a.Acquire().value();
  SlotRecord full;
  full.slot = kTestTime;
  full.state = SlotState::kFailed;
  full.attempts = 3;
  full.label = "20261122-020000F";
  full.error = "no \xff bytes";  // a server may send any bytes
  ASSERT_OK(lock->SetSlot("full", full));
  EXPECT_OK(lock->Release());
  EXPECT_OK(lock->Release());
  EXPECT_FALSE(State().held);
  EXPECT_EQ(State().node, "a");

  lock = b.Acquire("diff backup").value();
  EXPECT_EQ(lock->epoch(), 2U);
  EXPECT_THAT(LockNames(), ElementsAre(LockName(2)));
  EXPECT_OK(lock->SetSlot("diff", {.slot = kTestTime, .state = SlotState::kRunning}));
  const SlotRecords slots = State().slots;
  ASSERT_EQ(slots.size(), 2U);
  EXPECT_EQ(slots.at("full").slot, kTestTime);
  EXPECT_EQ(slots.at("full").state, SlotState::kFailed);
  EXPECT_EQ(slots.at("full").attempts, 3);
  EXPECT_EQ(slots.at("full").node, "a");
  EXPECT_EQ(slots.at("full").label, "20261122-020000F");
  EXPECT_EQ(slots.at("full").error, "no \xef\xbf\xbd bytes");
  EXPECT_EQ(slots.at("full").updated, kTestTime);
  EXPECT_EQ(slots.at("diff").node, "b");
  EXPECT_EQ(slots.at("diff").state, SlotState::kRunning);
  EXPECT_EQ(lock->slots().size(), 2U);
}

TEST_F(ClusterLockTest, TellsWhichWalItsHolderNeeds) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  auto lock = a.Acquire().value();
  EXPECT_EQ(State().needs_wal, "");
  ASSERT_OK(lock->SetNeededWal("wal/7/one"));
  EXPECT_EQ(State().needs_wal, "wal/7/one");
  ASSERT_OK(lock->SetSlot("full", {.slot = kTestTime}));
  EXPECT_EQ(State().needs_wal, "wal/7/one") << "another change does not forget it";
  ASSERT_OK(lock->SetNeededWal("wal/7/two"));
  EXPECT_EQ(State().needs_wal, "wal/7/two");
  ASSERT_OK(lock->Release());
  EXPECT_EQ(State().needs_wal, "");
  EXPECT_EQ(ReadText(shared_.PathOf(LockName(1))).find("needs_wal"), std::string::npos);

  lock = a.Acquire().value();
  ASSERT_OK(lock->SetNeededWal("wal/7/three"));
  PassStoreTime(kLease + std::chrono::seconds(2));
  EXPECT_EQ(State().needs_wal, "") << "whoever is dead needs nothing";
  lock = b.Acquire().value();
  EXPECT_EQ(State().needs_wal, "") << "nor does whoever comes next";
}

TEST_F(ClusterLockTest, AHolderThatRenewsKeepsIt) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  const auto lock = a.Acquire().value();
  for (int quarter = 1; quarter <= 12; ++quarter) {
    PassStoreTime(kLease / 4);
    ASSERT_TRUE(Eventually([&] { return a.clock().has_sleeper(); }));
    a.clock().Advance(kLease / 4);
    ASSERT_TRUE(Eventually([&] { return State().renewed == kTestTime + kLease / 4 * quarter; }));
  }
  EXPECT_ERROR(b.Acquire(), ErrorCode::kFailedPrecondition);
  EXPECT_OK(lock->RequireHeld());
}

// The store's clock decides whether a holder is dead. The node's clock does not.
TEST_F(ClusterLockTest, OnlyTheStoresTimeCounts) {
  LockNode a(shared_, "a", std::chrono::hours(-100'000));
  LockNode b(shared_, "b", std::chrono::hours(100'000));
  const auto lock = a.Acquire().value();
  b.clock().Advance(kLease * 10);
  EXPECT_ERROR(b.Acquire(), ErrorCode::kFailedPrecondition);
  PassStoreTime(kLease + std::chrono::seconds(1));
  EXPECT_ERROR(b.Acquire(), ErrorCode::kFailedPrecondition);
  PassStoreTime(std::chrono::seconds(1));
  EXPECT_FALSE(State().alive);
  EXPECT_TRUE(State().held);
  EXPECT_OK(b.Acquire());
}

// The store's clock was ahead when it was taken, and was put right. Its holder has died.
TEST_F(ClusterLockTest, ALockOfATimeToComeIsDead) {
  const LockNode a(shared_, "a");
  const LockNode b(shared_, "b");
  const auto lock = a.Acquire().value();
  PassStoreTime(-std::chrono::minutes(59));
  EXPECT_ERROR(b.Acquire(), ErrorCode::kFailedPrecondition);  // clocks differ a little
  PassStoreTime(-std::chrono::minutes(2));
  EXPECT_FALSE(State().alive);
  EXPECT_OK(b.Acquire());
}

// Pauses between attempts are reckoned from it, by a planner that knows the store's clock.
TEST_F(ClusterLockTest, ASlotIsUpdatedByTheStoresClockIfTheNodesIsWrong) {
  for (const int hours : {-100'000, 100'000}) {
    const LockNode node(shared_, "a", std::chrono::hours(hours));
    const auto lock = node.Acquire().value();
    ASSERT_OK(lock->SetSlot("full", {.slot = kTestTime, .state = SlotState::kFailed}));
    EXPECT_EQ(lock->slots().at("full").updated, State().now);
    EXPECT_OK(lock->Release());
  }
  LockNode node(shared_, "a");
  node.clock().Advance(std::chrono::minutes(30));
  const auto lock = node.Acquire().value();
  ASSERT_OK(lock->SetSlot("full", {.slot = kTestTime, .state = SlotState::kFailed}));
  EXPECT_EQ(lock->slots().at("full").updated, kTestTime + std::chrono::minutes(30))
      << "clocks differ a little";
}

// The same on a directory that several nodes share. Its file system has a clock, too.
TEST_F(ClusterLockTest, AWrongClockTakesNoLockOfADirectory) {
  const ManualClock here;
  const ManualClock ahead{std::chrono::hours(3)};
  const auto store = [&](const ManualClock& clock) {
    Environment environment;
    environment.clock = &clock;
    return std::shared_ptr<Store>(MakeLocalStore(shared_.PathOf(""), environment).value());
  };
  const LockNode holder(shared_, "holder", {}, store(here));
  const LockNode other(shared_, "other", std::chrono::hours(3), store(ahead));
  const auto held = holder.Acquire();
  ASSERT_OK(held);
  EXPECT_ERROR(other.Acquire(), ErrorCode::kFailedPrecondition);
  EXPECT_OK((*held)->RequireHeld());
}

// The holder was suspended for longer than a lease and resumed. Its own clock has not noticed.
TEST_F(ClusterLockTest, AResumedHolderDoesNoHarm) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  const auto stale = a.Acquire().value();
  ASSERT_OK(stale->SetSlot("full", {.slot = kTestTime, .state = SlotState::kRunning}));
  PassStoreTime(kLease * 2);
  const auto lock = b.Acquire().value();
  EXPECT_EQ(lock->slots().at("full").state, SlotState::kRunning);
  ASSERT_OK(lock->SetSlot("full", {.slot = kTestTime, .state = SlotState::kSucceeded}));

  const Status fenced = stale->RequireHeld();
  EXPECT_ERROR(fenced, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(fenced.error().message, HasSubstr("another node has taken it over"));
  EXPECT_ERROR(stale->SetSlot("full", {.state = SlotState::kFailed}),
               ErrorCode::kFailedPrecondition);
  EXPECT_OK(stale->Release());
  EXPECT_EQ(State().epoch, 2U);
  EXPECT_EQ(State().node, "b");
  EXPECT_TRUE(State().alive);
  EXPECT_EQ(State().slots.at("full").state, SlotState::kSucceeded);
}

// The holder was suspended between reading its object and rewriting it.
TEST_F(ClusterLockTest, AStaleRenewalIsWithoutEffect) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  const auto stale = a.Acquire().value();
  std::unique_ptr<ClusterLock> lock;
  a.store().SetHook([&](FaultStore::Operation operation, std::string_view) {
    if (operation == FaultStore::Operation::kPut && !lock) {
      PassStoreTime(kLease * 2);
      lock = b.Acquire().value();
    }
    return Ok();
  });
  EXPECT_ERROR(stale->SetSlot("full", {.state = SlotState::kSucceeded}),
               ErrorCode::kFailedPrecondition);
  EXPECT_THAT(LockNames(), ElementsAre(LockName(1), LockName(2)));
  EXPECT_EQ(State().node, "b");
  EXPECT_TRUE(State().slots.empty());
  EXPECT_OK(lock->RequireHeld());
  EXPECT_OK(lock->Release());
  EXPECT_OK(a.Acquire());
  EXPECT_THAT(LockNames(), ElementsAre(LockName(3)));
}

TEST_F(ClusterLockTest, AHolderThatCannotRenewForALeaseGivesUp) {
  LockNode a(shared_, "a");
  const auto lock = a.Acquire().value();
  std::atomic<int> attempts{0};
  a.store().SetHook([&](FaultStore::Operation, std::string_view) -> Status {
    ++attempts;
    return MakeError(ErrorCode::kUnavailable, "the store is away").Retryable();
  });
  for (int quarter = 1; quarter <= 4; ++quarter) {
    ASSERT_TRUE(Eventually([&] { return a.clock().has_sleeper(); }));
    a.clock().Advance(kLease / 4);
    ASSERT_TRUE(Eventually([&] { return attempts == quarter; }));
  }
  a.store().SetHook(nullptr);
  EXPECT_OK(lock->RequireHeld());
  a.clock().Advance(std::chrono::seconds(1));
  const Status lost = lock->RequireHeld();
  EXPECT_ERROR(lost, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(lost.error().message, HasSubstr("it was not renewed for 120 s"));
  EXPECT_FALSE(lost.error().hint.empty());
  a.clock().Advance(kLease);
  EXPECT_ERROR(lock->RequireHeld(), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(lock->SetSlot("full", {}), ErrorCode::kFailedPrecondition);
  EXPECT_OK(lock->Release());
  EXPECT_TRUE(State().held) << "it is left to be taken over";
}

TEST_F(ClusterLockTest, AnErrorOfTheStoreDoesNotLoseTheLock) {
  LockNode a(shared_, "a");
  const auto lock = a.Acquire().value();
  a.store().SetHook([&](FaultStore::Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "the store is away");
  });
  EXPECT_ERROR(lock->RequireHeld(), ErrorCode::kUnavailable);
  EXPECT_ERROR(lock->Release(), ErrorCode::kUnavailable);
  a.store().SetHook(nullptr);
  EXPECT_OK(lock->RequireHeld());
  EXPECT_OK(lock->Release());
  EXPECT_FALSE(State().held);
}

// A server that has crashed and is up again need not wait for its own lock.
TEST_F(ClusterLockTest, AnEndedProcessOfThisMachineIsDeadAtOnce) {
  LockNode node(shared_, "a");
  std::string ended = IdentifyThisProcess();
  ended.back() = ended.back() == '1' ? '2' : '1';
  LockDocument document{.held = true, .process = IdentifyThisProcess(), .lease = kLease};
  const auto write = [&] {
    WriteText(shared_.PathOf(LockName(1)),
              SerializeLock(document, 1, shared_->seal_policy()).value());
    PassStoreTime(std::chrono::duration_cast<std::chrono::milliseconds>(SystemClock().Now() -
                                                                        shared_.clock().Now()));
  };
  write();
  EXPECT_TRUE(State().alive);
  EXPECT_ERROR(node.Acquire(), ErrorCode::kFailedPrecondition);
  document.process = ended;
  write();
  EXPECT_FALSE(State().alive);
  EXPECT_OK(node.Acquire());
}

TEST_F(ClusterLockTest, ACancelledHolderCanStillRelease) {
  LockNode a(shared_, "a", {}, nullptr, shared_.environment().cancellation);
  const auto lock = a.Acquire().value();
  shared_.cancellation().Cancel();
  EXPECT_ERROR(lock->Release(), ErrorCode::kCancelled);
  EXPECT_OK(lock->ReleaseWithin(std::chrono::seconds(10)));
  EXPECT_TRUE(shared_.cancellation().cancelled());
  shared_.cancellation().Reset();
  EXPECT_FALSE(State().held);
}

TEST_F(ClusterLockTest, ACancelledHolderStopsTryingToRelease) {
  LockNode a(shared_, "a", {}, nullptr, shared_.environment().cancellation);
  const auto lock = a.Acquire().value();
  shared_.cancellation().Cancel();
  a.store().SetHook([&](FaultStore::Operation, std::string_view) {
    // Repeated, because `patience` may begin to run after the first request.
    do {
      a.clock().Advance(std::chrono::seconds(1));
    } while (SystemClock().Sleep(std::chrono::milliseconds(10), &shared_.cancellation()));
    return shared_.cancellation().Check();
  });
  EXPECT_ERROR(lock->ReleaseWithin(std::chrono::milliseconds(900)), ErrorCode::kCancelled);
  EXPECT_TRUE(shared_.cancellation().cancelled());
  shared_.cancellation().Reset();
  EXPECT_TRUE(State().held);
}

TEST_F(ClusterLockTest, CancellingStopsTheWait) {
  LockNode a(shared_, "a");
  a.store().SetHook([&](FaultStore::Operation operation, std::string_view) {
    if (operation == FaultStore::Operation::kPut) {
      shared_.cancellation().Cancel();
    }
    return Ok();
  });
  EXPECT_ERROR(a.Acquire(), ErrorCode::kCancelled);
  shared_.cancellation().Reset();
}

// A node saw epoch 1 released, was suspended, and now creates epoch 2, which has come and gone.
TEST_F(ClusterLockTest, AnEpochThatWasRemovedIsNotTakenAgain) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  ASSERT_OK(a.Acquire().value()->Release());
  std::unique_ptr<ClusterLock> lock;
  a.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name == LockName(2) && !lock) {
      EXPECT_OK(b.Acquire().value()->Release());
      lock = b.Acquire().value();
      EXPECT_EQ(lock->epoch(), 3U);
    }
    return Ok();
  });
  EXPECT_ERROR(a.Acquire(), ErrorCode::kFailedPrecondition);
  EXPECT_OK(lock->RequireHeld());
}

TEST_F(ClusterLockTest, ADeletedLockIsLost) {
  LockNode a(shared_, "a");
  const auto lock = a.Acquire().value();
  ASSERT_OK(shared_->store().Delete(LockName(1)));
  EXPECT_ERROR(lock->RequireHeld(), ErrorCode::kFailedPrecondition);
}

TEST_F(ClusterLockTest, DamagedAndForgedLocksAreNamed) {
  LockNode a(shared_, "a");
  const auto expect = [&](ErrorCode code) {
    for (const Error& error : {ReadLockState(*a).error(), a.Acquire().error()}) {
      EXPECT_EQ(error.code, code) << error.message;
      EXPECT_THAT(error.message, HasSubstr("lock/0000000007"));
      EXPECT_FALSE(error.hint.empty());
    }
  };
  const std::string path = shared_.PathOf(LockName(7));
  WriteText(path, "");
  expect(ErrorCode::kDataCorrupted);
  LockDocument document{.held = true, .lease = kLease};
  WriteText(path, SerializeLock(document, 7, TestPolicy(Cipher::kNone)).value());
  expect(ErrorCode::kPermissionDenied);
  WriteText(path, SerializeLock(document, 8, shared_->seal_policy()).value());
  expect(ErrorCode::kDataCorrupted);
  document.lease = std::chrono::seconds(0);
  WriteText(path, SerializeLock(document, 7, shared_->seal_policy()).value());
  expect(ErrorCode::kDataCorrupted);
  WriteText(path, R"({"format":2})");
  expect(ErrorCode::kUnsupported);
  WriteText(path, SignDocument({{"format", 1},
                                {"state", "held"},
                                {"holder", ""},
                                {"node", ""},
                                {"process", ""},
                                {"purpose", ""},
                                {"acquired", "2026-11-22T02:00:00Z"},
                                {"lease_seconds", 120},
                                {"slots", Json::Object()},
                                {"needs_wal", 7}},
                               shared_->seal_policy(), LockName(7))
                      .value());
  expect(ErrorCode::kDataCorrupted);
}

TEST_F(ClusterLockTest, ADamagedLockIsTakenOverWhenNobodyCanHoldIt) {
  LockNode a(shared_, "a");
  for (const std::string& damage :
       {std::string("junk"), std::string(), std::string(2U << 20, ' ')}) {
    const std::uint64_t epoch = State().epoch + 5;
    Put(LockName(epoch), damage);
    PassStoreTime(kLease + std::chrono::seconds(1));
    const auto refused = a.Acquire();
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().hint, AllOf(HasSubstr(LockName(epoch)), HasSubstr("delete it"),
                                            HasSubstr("taken over"), HasSubstr("120 s")));
    PassStoreTime(std::chrono::seconds(1));
    EXPECT_EQ(State().epoch, epoch);
    EXPECT_FALSE(State().held);
    EXPECT_FALSE(State().alive);
    const auto lock = a.Acquire();
    ASSERT_OK(lock);
    EXPECT_EQ((*lock)->epoch(), epoch + 1);
    EXPECT_THAT(LockNames(), ElementsAre(LockName(epoch + 1)));
    EXPECT_OK((*lock)->RequireHeld());
    EXPECT_OK((*lock)->Release());
  }
}

// A signed document of another format, and one that somebody without the key has written, may be
// the lock of somebody who is at work, or an attack.
TEST_F(ClusterLockTest, AForgedOrNewerLockIsNotTakenOver) {
  LockNode a(shared_, "a");
  const LockDocument document{.held = true, .lease = kLease};
  for (const std::string& text : {SerializeLock(document, 7, TestPolicy(Cipher::kNone)).value(),
                                  std::string(R"({"format":2})")}) {
    Put(LockName(7), text);
    PassStoreTime(kLease * 10);
    EXPECT_FALSE(a.Acquire());
    EXPECT_FALSE(ReadLockState(*shared_));
    EXPECT_THAT(LockNames(), ElementsAre(LockName(7)));
  }
}

// The holder's own object was damaged: it cannot renew any more, and stops before the takeover.
TEST_F(ClusterLockTest, TheHolderOfADamagedLockStops) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  const auto stale = a.Acquire().value();
  Put(LockName(1), "junk");
  EXPECT_ERROR(stale->SetSlot("full", {}), ErrorCode::kDataCorrupted);
  a.clock().Advance(kLease + std::chrono::seconds(1));
  EXPECT_ERROR(stale->RequireHeld(), ErrorCode::kFailedPrecondition);
  PassStoreTime(kLease + std::chrono::seconds(2));
  const auto lock = b.Acquire();
  ASSERT_OK(lock);
  EXPECT_ERROR(stale->RequireHeld(), ErrorCode::kFailedPrecondition);
  EXPECT_OK(stale->Release());
  EXPECT_OK((*lock)->RequireHeld());
}

// A foreign object was copied there with its old time, while the holder of a lower epoch is at
// work.
TEST_F(ClusterLockTest, AnOldForeignObjectDoesNotShortenALease) {
  LockNode a(shared_, "a");
  LockNode b(shared_, "b");
  Put("copied", "junk");
  PassStoreTime(kLease * 2);
  const auto lock = a.Acquire().value();
  std::filesystem::rename(shared_.PathOf("copied"), shared_.PathOf(LockName(25)));
  EXPECT_ERROR(b.Acquire(), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(lock->RequireHeld(), ErrorCode::kFailedPrecondition);
  PassStoreTime(kLease + std::chrono::seconds(2));
  EXPECT_EQ(b.Acquire().value()->epoch(), 26U);
}

TEST_F(ClusterLockTest, ADamagedLockMustLeaveRoomForLaterEpochs) {
  LockNode a(shared_, "a");
  const std::string last = LockName(9'000'000'000);
  for (const std::uint64_t epoch : {9'999'999'999U, 9'999'999'998U, 9'000'000'001U}) {
    Put(LockName(epoch), "junk");
    PassStoreTime(kLease * 2);
    const auto refused = a.Acquire();
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().hint,
                AllOf(HasSubstr(LockName(epoch)),
                      HasSubstr("If no backup or expiry is running on any node, delete it"),
                      Not(HasSubstr("taken over"))));
    ASSERT_OK(shared_->store().Delete(LockName(epoch)));
  }
  Put(last, "junk");
  PassStoreTime(kLease * 2);
  EXPECT_EQ(a.Acquire().value()->epoch(), 9'000'000'001U);
}

TEST_F(ClusterLockTest, OtherNamesAreNotLocks) {
  WriteText(shared_.PathOf("lock/99999999999"), "x");
  WriteText(shared_.PathOf("lock/notes"), "x");
  EXPECT_EQ(State().epoch, 0U);
}

TEST_F(ClusterLockTest, NoEpochFollowsTheLast) {
  const LockDocument document{.lease = kLease};
  WriteText(shared_.PathOf(LockName(9'999'999'999)),
            SerializeLock(document, 9'999'999'999, shared_->seal_policy()).value());
  const auto refused = LockNode(shared_, "a").Acquire();
  EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
  EXPECT_THAT(refused.error().hint,
              AllOf(HasSubstr("lock/9999999999"),
                    HasSubstr("If no backup or expiry is running on any node, delete it")));
}

TEST_F(ClusterLockTest, WithoutConditionalWritesOneOfTwoLoses) {
  const std::shared_ptr<FaultStore> faults = shared_.MakeStore();
  LockNode a(shared_, "a");
  LockNode b(shared_, "b", {}, std::make_shared<OverwritingStore>(faults));
  std::unique_ptr<ClusterLock> first;
  faults->SetHook([&](FaultStore::Operation operation, std::string_view) {
    if (operation == FaultStore::Operation::kPut && !first) {
      first = a.Acquire().value();
    }
    return Ok();
  });
  const auto second = b.Acquire();
  ASSERT_OK(second);
  const Status lost = first->SetSlot("full", {});
  EXPECT_ERROR(lost, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(lost.error().message, HasSubstr("conditional writes"));
  EXPECT_OK((*second)->SetSlot("full", {}));
}

// Decides before and after every write, and before every read, whether the connection is lost. So
// some writes are refused, and of others only the response is lost. The caller cannot know which.
class LossyStore final : public ForwardingStore {
 public:
  LossyStore(std::shared_ptr<FaultStore> inner, std::function<bool()> is_lost)
      : ForwardingStore(std::move(inner)), is_lost_(std::move(is_lost)) {}
  Status Put(std::string_view name, Body& body, PutMode mode) override {
    RETURN_IF_ERROR(MaybeFail());
    RETURN_IF_ERROR(inner().Put(name, body, mode));
    return MaybeFail();
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    RETURN_IF_ERROR(MaybeFail());
    return inner().Get(name, range, sink);
  }
  Status Delete(std::string_view name) override {
    RETURN_IF_ERROR(inner().Delete(name));
    return MaybeFail();
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    RETURN_IF_ERROR(MaybeFail());
    return inner().List(prefix, start_after, each);
  }

 private:
  Status MaybeFail() {
    if (is_lost_()) {
      return MakeError(ErrorCode::kUnavailable, "the connection was lost").Retryable();
    }
    return Ok();
  }
  std::function<bool()> is_lost_;
};

// Several nodes compete in rounds. In each round exactly one gets the lock. In `gone` rounds it is
// not released, so that the next one is a takeover.
class ClusterLockRace : public ClusterLockTest {
 protected:
  static constexpr int kNodes = 6;
  static constexpr int kRounds = 12;

  // The local store removes files that are a day old by the system's clock, because it takes them
  // for the remains of a crash.
  ClusterLockRace() {
    PassStoreTime(std::chrono::duration_cast<std::chrono::milliseconds>(
        std::max(SystemClock().Now() - kTestTime, std::chrono::microseconds(0))));
  }

  void Run(const std::function<std::unique_ptr<LockNode>(int)>& make_node) {
    std::vector<std::unique_ptr<LockNode>> nodes;
    for (int i = 0; i < kNodes; ++i) {
      nodes.push_back(make_node(i));
    }
    int claimed = 0;  // guarded by nothing but the lock
    std::vector<std::unique_ptr<ClusterLock>> abandoned;
    for (int round = 0; round < kRounds; ++round) {
      std::vector<std::unique_ptr<ClusterLock>> won(kNodes);
      std::barrier start(kNodes);
      std::vector<std::thread> threads;
      for (int i = 0; i < kNodes; ++i) {
        threads.emplace_back([&, i] {
          start.arrive_and_wait();
          auto lock = nodes[static_cast<std::size_t>(i)]->Acquire();
          if (!lock) {
            EXPECT_EQ(lock.error().code, ErrorCode::kFailedPrecondition) << lock.error().message;
            return;
          }
          ++claimed;
          EXPECT_OK((*lock)->SetSlot("full", {.slot = kTestTime, .attempts = claimed}));
          won[static_cast<std::size_t>(i)] = std::move(*lock);
        });
      }
      for (std::thread& thread : threads) {
        thread.join();
      }
      EXPECT_EQ(claimed, round + 1) << "exactly one";
      for (std::unique_ptr<ClusterLock>& lock : won) {
        if (lock && round % 2 == 0) {
          EXPECT_OK(lock->RequireHeld());
          EXPECT_OK(lock->Release());
        } else if (lock) {
          abandoned.push_back(std::move(lock));
          PassStoreTime(kLease * 2);
        }
      }
    }
    EXPECT_EQ(State().slots.at("full").attempts, kRounds);
    for (const std::unique_ptr<ClusterLock>& lock : abandoned) {
      if (lock->epoch() != State().epoch) {
        EXPECT_ERROR(lock->RequireHeld(), ErrorCode::kFailedPrecondition);
      }
    }
  }
};

TEST_F(ClusterLockRace, OneOfManyGetsIt) {
  Run([this](int i) {
    return std::make_unique<LockNode>(shared_, fmt::format("node-{}", i),
                                      std::chrono::hours(i * 1000));
  });
}

TEST_F(ClusterLockRace, OneOfManyGetsItWhenResponsesAreLost) {
  const TestClock impatient;  // the pauses between attempts take no time
  Environment environment;
  environment.clock = &impatient;
  Run([&](int i) {
    auto lossy = std::make_unique<LossyStore>(
        shared_.MakeStore(), [drawn = std::make_shared<std::atomic<std::uint64_t>>(i)] {
          return (drawn->fetch_add(0x9E3779B97F4A7C15U) >> 33) % 4 == 0;
        });
    return std::make_unique<LockNode>(
        shared_, fmt::format("node-{}", i), std::chrono::hours(0),
        MakeRetryingStore(std::move(lossy), environment,
                          {.budget = std::chrono::hours(1000), .max_attempts = 1000}));
  });
}

// This store does not retry.
TEST_F(ClusterLockTest, ALostResponseIsLookedUp) {
  bool armed = false;
  LockNode a(shared_, "a", {}, std::make_shared<LossyStore>(shared_.MakeStore(), [&] {
               if (armed && shared_.Exists(LockName(1))) {
                 armed = false;
                 return true;
               }
               return false;
             }));
  armed = true;
  EXPECT_OK(a.Acquire());
  EXPECT_FALSE(armed);
  EXPECT_EQ(State().node, "a");
}

// --- An outage that is longer than a lease -------------------------------------------------------

// A holder that cannot reach the store for three leases.
class ClusterLockOutageTest : public ClusterLockTest {
 protected:
  ClusterLockOutageTest() : a_(shared_, "a"), b_(shared_, "b") {
    lock_ = ClusterLock::Acquire(*a_, {.purpose = "full backup", .regain = true}).value();
    EXPECT_OK(lock_->SetSlot("full", {.slot = kTestTime, .state = SlotState::kRunning}));
  }

  void Break() {
    a_.store().SetHook([this](FaultStore::Operation, std::string_view) -> Status {
      ++refused_;
      return Error(MakeError(ErrorCode::kUnavailable, "nobody answers").Retryable());
    });
  }
  void Mend() { a_.store().SetHook(nullptr); }
  void PassLeases(int leases) {
    for (int quarter = 0; quarter < leases * 4; ++quarter) {
      PassStoreTime(kLease / 4);
      const int before = refused_;
      EXPECT_TRUE(Eventually([&] { return a_.clock().has_sleeper(); }));
      a_.clock().Advance(kLease / 4);
      EXPECT_TRUE(Eventually([&] { return refused_ > before; }));
    }
  }

  LockNode a_;
  LockNode b_;
  std::unique_ptr<ClusterLock> lock_;
  std::atomic<int> refused_{0};
};

TEST_F(ClusterLockOutageTest, AHolderThatWasNotReplacedTakesItAgain) {
  Break();
  PassLeases(3);
  EXPECT_ERROR(lock_->RequireHeld(), ErrorCode::kUnavailable);
  EXPECT_FALSE(State().alive);
  Mend();
  EXPECT_OK(lock_->RequireHeld());
  EXPECT_EQ(lock_->epoch(), 2U);
  EXPECT_THAT(LockNames(), ElementsAre(LockName(2)));
  EXPECT_TRUE(State().alive);
  EXPECT_EQ(State().slots.at("full").state, SlotState::kRunning);
  EXPECT_ERROR(b_.Acquire(), ErrorCode::kFailedPrecondition);
  EXPECT_OK(lock_->SetSlot("full", {.slot = kTestTime, .state = SlotState::kSucceeded}));
  EXPECT_OK(lock_->Release());
  EXPECT_EQ(b_.Acquire().value()->slots().at("full").state, SlotState::kSucceeded);
}

TEST_F(ClusterLockOutageTest, ItsRenewerTakesItAgainToo) {
  Break();
  PassLeases(2);
  Mend();
  EXPECT_TRUE(Eventually([&] { return a_.clock().has_sleeper(); }));
  a_.clock().Advance(kLease / 4);
  EXPECT_TRUE(Eventually([&] { return State().epoch == 2 && State().alive; }));
  EXPECT_OK(lock_->RequireHeld());
}

TEST_F(ClusterLockOutageTest, AnotherHolderMeanwhileMeansThatItIsLost) {
  Break();
  PassLeases(2);
  auto taken = b_.Acquire().value();
  Mend();
  const Status held = lock_->RequireHeld();
  EXPECT_ERROR(held, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(held.error().message, HasSubstr("another node has taken it over"));
  // The other node may have removed what this one relies on, even if it is done by now.
  EXPECT_OK(taken->RequireHeld());
  EXPECT_OK(taken->Release());
  EXPECT_ERROR(lock_->RequireHeld(), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(lock_->SetSlot("full", {}), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(State().node, "b");
}

// Both nodes want the next epoch.
TEST_F(ClusterLockOutageTest, OnlyTheFasterNodeGetsIt) {
  Break();
  PassLeases(2);
  Mend();
  std::unique_ptr<ClusterLock> taken;
  a_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name == LockName(2) && !taken) {
      taken = b_.Acquire().value();
    }
    return Ok();
  });
  EXPECT_ERROR(lock_->RequireHeld(), ErrorCode::kFailedPrecondition);
  EXPECT_OK(taken->RequireHeld());
  EXPECT_EQ(taken->epoch(), 2U);
}

// The store has accepted the next epoch, and the response was lost.
TEST_F(ClusterLockOutageTest, ALostResponseIsNotTakenForAnotherNode) {
  Break();
  PassLeases(2);
  Mend();
  int puts = 0;
  a_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
    // After the next epoch was written, the store is unreachable again.
    if (name == LockName(2) && operation == FaultStore::Operation::kPut) {
      ++puts;
      return Ok();
    }
    if (puts > 0 && puts < 100) {
      puts = 100;
      return Error(MakeError(ErrorCode::kUnavailable, "nobody answers").Retryable());
    }
    return Ok();
  });
  EXPECT_ERROR(lock_->RequireHeld(), ErrorCode::kUnavailable);
  EXPECT_OK(lock_->RequireHeld());
  EXPECT_EQ(State().node, "a");
  EXPECT_EQ(lock_->epoch(), 3U);
}

TEST_F(ClusterLockOutageTest, WithoutRegainItIsLost) {
  EXPECT_OK(lock_->Release());
  const auto plain = a_.Acquire().value();
  Break();
  PassStoreTime(kLease * 2);
  ASSERT_TRUE(Eventually([&] { return a_.clock().has_sleeper(); }));
  a_.clock().Advance(kLease * 2);
  Mend();
  EXPECT_ERROR(plain->RequireHeld(), ErrorCode::kFailedPrecondition);
}

}  // namespace
}  // namespace veza
