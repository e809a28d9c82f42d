#include "core/retention/expire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "core/limits.h"
#include "core/repository/history.h"
#include "core/repository/restore_lease.h"
#include "core/repository/tombstone.h"
#include "core/retention/pins.h"

namespace veza {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Operation = FaultStore::Operation;

TimePoint Day(int day) {
  return kTestTime + std::chrono::hours(24 * day);
}
std::string Full(int day) {
  return FullLabel(Day(day));
}
std::string Diff(int full, int day) {
  return DiffLabel(Full(full), Day(day));
}

// The backup of day N needs segments 10 N and 10 N + 1. Each backup has two packs.
class ExpireTest : public testing::Test {
 protected:
  ExpireTest() : node_(repository_, "node-a") {}

  void Have(const std::string& label, int day) {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.type = ParseLabel(label)->type;
    summary.packs = 2;
    summary.manifest_size = 8;
    // Which diffs of TestSummary() name.
    summary.manifest_sha256 = Sha256Of(AsBytes("the full's manifest"));
    summary.start_time = Day(day);
    summary.start_lsn = Lsn{static_cast<std::uint64_t>(day) * 10 * kTestSegmentSize + 0x28};
    summary.stop_lsn = Lsn{summary.start_lsn.value + kTestSegmentSize};
    HavePacks(label);
    Put(ManifestName(label), "manifest");
    Put(BackupDocumentName(label), SerializeSummary(summary, repository_->seal_policy()).value());
  }
  void HavePacks(const std::string& label) {
    Put(PackName(label, 1), "pack");
    Put(PackName(label, 2), "pack");
  }
  void HaveWal(SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber segment = first; segment <= last; ++segment) {
      WriteText(repository_.PathOf(WalName(segment)), "segment");
    }
  }
  static std::string WalName(SegmentNumber segment) {
    return WalObjectName(kTestSystem, SegmentName(1, segment, kTestSegmentSize)).value();
  }
  // By the store's clock.
  void Put(const std::string& name, std::string_view content) {
    ASSERT_OK(PutSmall(repository_->store(), name, AsBytes(content), PutMode::kCreate));
  }
  static void SetTime(const std::string& path, TimePoint written) {
    const timespec time{(written - TimePoint()) / std::chrono::seconds(1), 0};
    const timespec times[2] = {time, time};
    EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  void Pass(std::chrono::hours time) { repository_.clock().Sleep(time, nullptr); }

  Result<std::vector<RetentionDecision>> Run(const RetentionSettings& settings) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ClusterLock> lock, node_.Acquire("expire"));
    auto decisions = Expire(*node_, kTestSystem, settings, *lock, 1);
    RETURN_IF_ERROR(lock->Release());
    return decisions;
  }
  // Records what was deleted, in order. `then` is called before each deletion.
  std::vector<std::string> Record(const RetentionSettings& settings,
                                  const std::function<void(std::string_view)>& then = {}) {
    std::vector<std::string> deleted;
    node_.store().SetHook([&](Operation operation, std::string_view name) {
      if (operation == Operation::kDelete && !name.starts_with(kLockPrefix)) {
        if (then) {
          then(name);
        }
        deleted.emplace_back(name);
      }
      return Ok();
    });
    EXPECT_OK(Run(settings));
    node_.store().SetHook(nullptr);
    return deleted;
  }
  std::vector<std::string> Labels() {
    std::vector<std::string> labels;
    const BackupCatalog catalog = ReadBackupCatalog(*repository_).value();
    for (const BackupSummary& backup : catalog.backups) {
      labels.push_back(backup.label);
    }
    return labels;
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  LockNode node_;
};

TEST_F(ExpireTest, DeletesSummariesFirstDiffsBeforeFullsAndWalLast) {
  Have(Full(1), 1);
  Have(Diff(1, 2), 2);
  Have(Full(3), 3);
  HaveWal(9, 31);
  std::vector<std::string> expected;
  for (const std::string& label : {Diff(1, 2), Full(1)}) {
    for (const std::string& name :
         {BackupDocumentName(label), ManifestName(label), PackName(label, 1), PackName(label, 2)}) {
      expected.push_back(name);
    }
  }
  for (SegmentNumber segment = 9; segment < 30; ++segment) {
    expected.push_back(WalName(segment));
  }
  EXPECT_EQ(Record({.full = 1, .diff = 7, .archive = 1}), expected);
  EXPECT_THAT(Labels(), ElementsAre(Full(3)));
  EXPECT_THAT(Record({.full = 1, .diff = 7, .archive = 1}), IsEmpty());
}

// A rule of the store has taken packs of the newest ones.
TEST_F(ExpireTest, WhatLacksPacksDisplacesNothing) {
  Have(Full(1), 1);
  Have(Full(2), 2);
  Have(Full(3), 3);
  HaveWal(10, 40);
  std::filesystem::remove(repository_.PathOf(PackName(Full(2), 1)));
  std::filesystem::remove(repository_.PathOf(PackName(Full(3), 2)));
  EXPECT_THAT(Record({.full = 2, .diff = 7, .archive = 2}), IsEmpty());
  Put(PackName(Full(2), 1), "pack");
  Put(PackName(Full(3), 2), "pack");
  Record({.full = 2, .diff = 7, .archive = 2});
  EXPECT_THAT(Labels(), ElementsAre(Full(2), Full(3)));
}

TEST_F(ExpireTest, ATombstonePreventsALateCommit) {
  HavePacks(Full(1));
  Pass(std::chrono::hours(2));
  EXPECT_THAT(Record({}), ElementsAre(PackName(Full(1), 1), PackName(Full(1), 2)));
  EXPECT_EQ(ReadBackupCatalog(*repository_).value().buried, std::vector{Full(1)});
  EXPECT_THAT(ReadBackupCatalog(*repository_).value().unfinished, IsEmpty());
  EXPECT_ERROR(ReadBackup(*repository_, Full(1)), ErrorCode::kNotFound);
  // The process that made the backup resumes.
  Put(ManifestName(Full(1)), "manifest");
  EXPECT_ERROR(PutSmall(repository_->store(), BackupDocumentName(Full(1)), {}, PutMode::kCreate),
               ErrorCode::kAlreadyExists);
  EXPECT_THAT(Record({}), ElementsAre(ManifestName(Full(1))));
  Pass(std::chrono::hours(7 * 24 - 3));
  EXPECT_THAT(Record({}), IsEmpty());
  Pass(std::chrono::hours(4));
  EXPECT_THAT(Record({}), ElementsAre(BackupDocumentName(Full(1))));
  EXPECT_FALSE(repository_.Exists("backup"));
}

TEST_F(ExpireTest, ANodeThatHasLostTheLockDeletesNothingMore) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  LockNode other(repository_, "node-b");
  std::unique_ptr<ClusterLock> taken;
  int deletions = 0;
  node_.store().SetHook([&](Operation operation, std::string_view name) {
    if (operation == Operation::kDelete && name.starts_with(kBackupPrefix) && ++deletions == 4) {
      Pass(std::chrono::hours(1));
      taken = other.Acquire().value();
    }
    return Ok();
  });
  const auto expired = Run({.full = 1, .diff = 1, .archive = 1});
  EXPECT_ERROR(expired, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(expired.error().message, HasSubstr("taken it over"));
  EXPECT_EQ(deletions, 4);
  EXPECT_THAT(Labels(), ElementsAre(Full(2), Full(3)));
}

TEST_F(ExpireTest, ABackupPinnedMeanwhileStaysWithItsWal) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  Have(Diff(2, 4), 4);
  HaveWal(5, 40);
  Have(Full(5), 5);
  const std::vector<std::string> deleted =
      Record({.full = 1, .diff = 1, .archive = 1}, [&](std::string_view name) {
        if (name == BackupDocumentName(Full(1))) {
          ASSERT_OK(PinBackup(*repository_, Full(3)));
        }
      });
  EXPECT_THAT(Labels(), ElementsAre(Full(3), Full(5)));
  EXPECT_THAT(deleted, Not(Contains(HasSubstr("wal/"))));
  EXPECT_THAT(Record({.full = 1, .diff = 1, .archive = 1}), Contains(WalName(29)));
  EXPECT_TRUE(repository_.Exists(WalName(30)));
}

// Only a restore needs these: an old full, its diff, and all WAL since.
TEST_F(ExpireTest, WhatARestoreUsesStaysUntilItsLeaseLapses) {
  for (int day = 1; day <= 4; ++day) {
    Have(Full(day), day);
  }
  Have(Diff(2, 3), 3);
  HaveWal(5, 45);
  LockNode restorer(repository_, "node-r");
  auto lease =
      RestoreLease::Take(*restorer, ReadBackup(*repository_, Diff(2, 3)).value(), "restore")
          .value();
  const RetentionSettings one{.full = 1, .diff = 1, .archive = 1};
  const auto decisions = Run(one);
  ASSERT_OK(decisions);
  EXPECT_THAT(Labels(), ElementsAre(Full(2), Diff(2, 3), Full(4)));
  EXPECT_THAT(decisions->at(2).reason, HasSubstr("in use by a restore on node \"node-r\""));
  EXPECT_FALSE(repository_.Exists(WalName(19)));
  EXPECT_TRUE(repository_.Exists(WalName(20)));  // the WAL of the full itself
  EXPECT_FALSE(repository_.Exists(WalName(25)));
  EXPECT_TRUE(repository_.Exists(WalName(30)));  // from the start of the diff on
  EXPECT_TRUE(repository_.Exists(WalName(36)));

  // vezactl was killed.
  const std::string name = lease->name();
  lease.reset();
  repository_.clock().Sleep(kCopyLease + std::chrono::seconds(2), nullptr);
  ASSERT_OK(Run(one));
  EXPECT_THAT(Labels(), ElementsAre(Full(4)));
  EXPECT_FALSE(repository_.Exists(WalName(36)));
  EXPECT_FALSE(repository_.Exists(name));
}

TEST_F(ExpireTest, ABackupThatARestoreBeginsToUseStaysWithItsWal) {
  for (int day = 1; day <= 4; ++day) {
    Have(Full(day), day);
  }
  HaveWal(5, 45);
  LockNode restorer(repository_, "node-r");
  std::unique_ptr<RestoreLease> lease;
  const RetentionSettings one{.full = 1, .diff = 1, .archive = 1};
  const std::vector<std::string> deleted = Record(one, [&](std::string_view name) {
    if (name == BackupDocumentName(Full(2)) && !lease) {
      lease =
          RestoreLease::Take(*restorer, ReadBackup(*repository_, Full(3)).value(), "drill").value();
    }
  });
  EXPECT_THAT(Labels(), ElementsAre(Full(3), Full(4)));
  EXPECT_THAT(deleted, Not(Contains(HasSubstr("wal/"))));
}

TEST_F(ExpireTest, ARestoreThatBeginsDuringTheDeletionKeepsTheRemainingWal) {
  Have(Full(1), 1);
  Have(Full(300), 300);
  HaveWal(5, 2995);  // more than a batch
  LockNode restorer(repository_, "node-r");
  std::unique_ptr<RestoreLease> lease;
  // The backup stays, so its summary is not read any more.
  Record({.full = 1, .diff = 1, .archive = 1}, [&](std::string_view name) {
    if (name == WalName(100)) {
      lease = RestoreLease::Take(*restorer, ReadBackup(*repository_, Full(300)).value(), "restore")
                  .value();
    }
  });
  EXPECT_FALSE(repository_.Exists(WalName(100)));
  EXPECT_TRUE(repository_.Exists(WalName(2500)));
}

TEST_F(ExpireTest, ALeaseThatIsRenewedMeanwhileStays) {
  Have(Full(1), 1);
  LockNode restorer(repository_, "node-r");
  auto lease =
      RestoreLease::Take(*restorer, ReadBackup(*repository_, Full(1)).value(), "restore").value();
  const std::string name = lease->name();
  lease.reset();
  repository_.clock().Sleep(kCopyLease + std::chrono::seconds(2), nullptr);
  bool planned = false;
  bool renewed = false;
  node_.store().SetHook([&](Operation operation, std::string_view prefix) -> Status {
    // Expiry checks its lock after it has read the leases, when its plan is complete.
    if (operation == Operation::kList && prefix == kLeasePrefix) {
      planned = true;
    } else if (operation == Operation::kList && prefix == kLockPrefix && planned && !renewed) {
      renewed = true;
      return RenewLease(*repository_, name);
    }
    return Ok();
  });
  const auto decisions = Run({});
  ASSERT_OK(decisions);
  EXPECT_TRUE(renewed);
  EXPECT_TRUE(repository_.Exists(name));
  const auto decision = std::ranges::find(*decisions, name, &RetentionDecision::name);
  ASSERT_NE(decision, decisions->end());
  EXPECT_TRUE(decision->keep);
  EXPECT_THAT(decision->reason, HasSubstr("renewed a moment ago"));
}

TEST_F(ExpireTest, ABackupCompletedMeanwhileStays) {
  HavePacks(Full(1));
  Pass(std::chrono::hours(2));
  node_.store().SetHook([&](Operation operation, std::string_view name) {
    if (operation == Operation::kPut && name == BackupDocumentName(Full(1))) {
      Put(ManifestName(Full(1)), "manifest");
      BackupSummary summary = TestSummary(*repository_, Full(1));
      Put(BackupDocumentName(Full(1)),
          SerializeSummary(summary, repository_->seal_policy()).value());
    }
    return Ok();
  });
  const auto decisions = Run({});
  ASSERT_OK(decisions);
  EXPECT_TRUE(decisions->front().keep);
  EXPECT_THAT(Labels(), ElementsAre(Full(1)));
  EXPECT_TRUE(repository_.Exists(PackName(Full(1), 1)));
}

TEST_F(ExpireTest, PlanningChangesNothing) {
  Have(Full(1), 1);
  Have(Full(2), 2);
  HavePacks(Full(3));
  HaveWal(5, 25);
  Pass(std::chrono::hours(2));
  const auto look = [&] {
    std::vector<std::string> removed;
    const std::vector<RetentionDecision> decisions =
        PlanExpire(*repository_, kTestSystem, {.full = 1, .diff = 1, .archive = 1}).value();
    for (const RetentionDecision& decision : decisions) {
      if (!decision.keep) {
        removed.push_back(decision.name);
      }
    }
    return removed;
  };
  const auto before = ListTree(repository_.PathOf(""));
  EXPECT_THAT(look(), ElementsAre(Full(1), Full(3), SegmentName(1, 5, kTestSegmentSize)));
  EXPECT_EQ(ListTree(repository_.PathOf("")), before);
  const auto lock = node_.Acquire().value();
  EXPECT_THAT(look(), Not(Contains(Full(3)))) << "somebody is at work";
}

TEST_F(ExpireTest, RecordsOfDamageGoWithTheirBackups) {
  for (const int day : {1, 2, 3}) {
    Have(Full(day), day);
    Put(DamageName(Full(day)), "{}");
  }
  Have(Full(4), 4);
  Have(Full(5), 5);
  HaveWal(10, 60);
  Put(DamageName(Full(9)), "{}");  // of a backup that is gone
  Put("damage/junk", "junk");
  std::filesystem::remove(repository_.PathOf(DamageName(Full(1))));
  Pass(std::chrono::hours(2));
  const std::vector<std::string> deleted = Record({.full = 2, .diff = 1, .archive = 1});
  EXPECT_THAT(Labels(), ElementsAre(Full(4), Full(5)));
  EXPECT_FALSE(repository_.Exists(DamageName(Full(2))));
  EXPECT_FALSE(repository_.Exists(DamageName(Full(3))));
  EXPECT_FALSE(repository_.Exists(DamageName(Full(9))));
  EXPECT_TRUE(repository_.Exists("damage/junk"));
  EXPECT_EQ(deleted.back(), DamageName(Full(9)));
  EXPECT_THAT(deleted, Not(Contains(DamageName(Full(1)))));
}

TEST_F(ExpireTest, TheNewestRecordsOfDrillsStay) {
  Pass(std::chrono::hours(48));
  Have(Full(1), 1);
  const auto name = [](std::size_t number) {
    return DrillName(Day(1) + std::chrono::minutes(number), Full(1));
  };
  for (std::size_t number = 0; number < kDrillsKept; ++number) {
    Put(name(number), "record");
  }
  EXPECT_THAT(Record({}), IsEmpty());
  Put(name(kDrillsKept), "record");
  Put(name(kDrillsKept + 1), "record");
  Put("drill/0", "something else");
  EXPECT_THAT(Record({}), ElementsAre(name(0), name(1)));
  EXPECT_THAT(Record({}), IsEmpty());
}

TEST_F(ExpireTest, DrillRecordsFromTheFutureDisplaceNoOthers) {
  Pass(std::chrono::hours(48));
  Have(Full(1), 1);
  const auto put = [&](TimePoint begin) {
    for (std::size_t number = 0; number < kDrillsKept; ++number) {
      WriteText(repository_.PathOf(DrillName(begin + std::chrono::minutes(number), Full(1))), "?");
    }
  };
  put(Day(1));
  put(Day(2) + std::chrono::minutes(61));
  EXPECT_THAT(Record({}), IsEmpty());
  // Once their time has come, they count like others.
  Pass(std::chrono::hours(3));
  EXPECT_THAT(Record({}), SizeIs(kDrillsKept));
  EXPECT_FALSE(repository_.Exists(DrillName(Day(1), Full(1))));
}

// Anybody who can write to the store can stop expiry as long as he continues. The error tells the
// operator.
TEST_F(ExpireTest, TooManyLeasesAreAnErrorUntilTheyLapse) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  const RetentionSettings one{.full = 1, .diff = 1, .archive = 1};
  for (std::size_t i = 0; i <= limits::kLeases; ++i) {
    const std::string path = repository_.PathOf(LeaseName(Full(7), fmt::format("{:016}", i)));
    WriteText(path, "?");
    SetTime(path, kTestTime);
  }
  const auto refused = Run(one);
  EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
  EXPECT_THAT(refused.error().message, HasSubstr("leases below \"lease/\""));
  EXPECT_THAT(Labels(), ElementsAre(Full(1), Full(2), Full(3)));
  Pass(std::chrono::hours(25));
  ASSERT_OK(Run(one));
  EXPECT_THAT(Labels(), ElementsAre(Full(3)));
  EXPECT_THAT(ReadLeases(*repository_).value(), SizeIs(1));  // left to the next expiry
}

// The number of requests does not grow with backups times leases.
TEST_F(ExpireTest, EachLeaseIsReadOnce) {
  for (int day = 1; day <= 4; ++day) {
    Have(Full(day), day);
  }
  HaveWal(5, 45);
  for (int i = 0; i < 30; ++i) {
    Put(LeaseName(Full(4), fmt::format("{:016}", i)), "?");
  }
  std::map<std::string, int, std::less<>> reads;
  node_.store().SetHook([&](Operation operation, std::string_view name) {
    if (operation == Operation::kGet && name.starts_with(kLeasePrefix)) {
      ++reads[std::string(name)];
    }
    return Ok();
  });
  ASSERT_OK(Run({.full = 1, .diff = 1, .archive = 1}));
  EXPECT_THAT(Labels(), ElementsAre(Full(4)));
  EXPECT_FALSE(repository_.Exists(WalName(39)));
  EXPECT_THAT(reads, SizeIs(30));
  EXPECT_TRUE(std::ranges::all_of(reads, [](const auto& read) { return read.second == 1; }));
}

TEST_F(ExpireTest, DeletesWalInBatchesAndChecksTheLockBeforeEach) {
  Have(Full(1), 1);
  Have(Full(300), 300);
  HaveWal(1, 3010);
  const auto lock = node_.Acquire().value();
  std::atomic<int> looks{0};
  node_.store().SetHook([&](Operation operation, std::string_view name) {
    looks += operation == Operation::kList && name == kLockPrefix ? 1 : 0;
    return Ok();
  });
  ASSERT_OK(Expire(*node_, kTestSystem, {.full = 2, .diff = 1, .archive = 1}, *lock, 4));
  EXPECT_GE(looks, 3);
  std::vector<std::string> left;
  EXPECT_OK(repository_->store().List("wal/", "", [&](const ObjectInfo& object) {
    left.push_back(object.name);
    return Ok();
  }));
  EXPECT_EQ(left.size(), 2U + 11U);
  EXPECT_EQ(left.front(), WalName(10));
}

// --- A full store --------------------------------------------------------------------------------

// Every Put fails until `deletions` objects were deleted.
void FillUp(FaultStore& store, int deletions, int* deleted) {
  store.SetHook([=](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kDelete) {
      ++*deleted;
    }
    if (operation == Operation::kPut && *deleted < deletions) {
      return MakeError(ErrorCode::kNoSpace, "no space left on device");
    }
    return Ok();
  });
}

TEST_F(ExpireTest, AFullStoreIsExpiredWithoutTheLockUntilThereIsRoomForIt) {
  for (int day = 1; day <= 4; ++day) {
    Have(Full(day), day);
  }
  HavePacks(Full(9));
  HaveWal(5, 45);
  Pass(std::chrono::hours(2));
  int deleted = 0;
  FillUp(node_.store(), 3, &deleted);
  const auto decisions =
      ExpireUnderLock(*node_, kTestSystem, {.full = 2, .diff = 1, .archive = 1}, 1);
  ASSERT_OK(decisions);
  EXPECT_THAT(Labels(), ElementsAre(Full(3), Full(4)));
  EXPECT_FALSE(repository_.Exists(WalName(15)));
  EXPECT_FALSE(repository_.Exists(PackName(Full(9), 1))) << "with the lock it goes as always";
  EXPECT_FALSE(ReadLockState(*repository_).value().held);
  EXPECT_EQ(std::ranges::count_if(*decisions,
                                  [](const RetentionDecision& decision) {
                                    return decision.kind == RetentionKind::kBackup &&
                                           decision.name == Full(1);
                                  }),
            1);
}

// A server that counts its quota only now and then.
TEST_F(ExpireTest, AStoreThatStaysFullIsExpired) {
  for (int day = 1; day <= 4; ++day) {
    Have(Full(day), day);
  }
  Have(Diff(2, 5), 5);
  Have(Diff(4, 6), 6);
  HavePacks(Full(9));
  HaveWal(5, 75);
  Pass(std::chrono::hours(2));
  int deleted = 0;
  FillUp(node_.store(), 1'000'000, &deleted);
  const RetentionSettings settings{.full = 1, .diff = 1, .archive = 1};
  const auto decisions = ExpireUnderLock(*node_, kTestSystem, settings, 1);
  ASSERT_OK(decisions);
  EXPECT_THAT(Labels(), ElementsAre(Full(4), Diff(4, 6)));
  EXPECT_FALSE(repository_.Exists(WalName(15)));
  EXPECT_FALSE(repository_.Exists(WalName(39)));
  EXPECT_TRUE(repository_.Exists(WalName(40)));
  EXPECT_TRUE(repository_.Exists(PackName(Full(9), 1))) << "that needs a tombstone";
  EXPECT_THAT(*decisions, Contains(testing::AllOf(
                              testing::Field(&RetentionDecision::name, Full(9)),
                              testing::Field(&RetentionDecision::keep, true),
                              testing::Field(&RetentionDecision::reason, HasSubstr("again")))));
  EXPECT_TRUE(repository_.Exists(WalName(10))) << "a backup needed it";
  EXPECT_OK(ExpireUnderLock(*node_, kTestSystem, settings, 1));
  EXPECT_FALSE(repository_.Exists(WalName(10)));
}

// An existing tombstone needs no room.
TEST_F(ExpireTest, BuriedRemainsAreDeletedFromAStoreThatStaysFull) {
  Have(Full(1), 1);
  HavePacks(Full(9));
  Put(BackupDocumentName(Full(9)),
      SerializeTombstone(Full(9), "node-b", kTestTime, repository_->seal_policy()).value());
  int deleted = 0;
  FillUp(node_.store(), 1'000'000, &deleted);
  ASSERT_OK(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1));
  EXPECT_FALSE(repository_.Exists(PackName(Full(9), 1)));
  EXPECT_TRUE(repository_.Exists(BackupDocumentName(Full(9)))) << "for seven days";
  Pass(std::chrono::hours(24 * 7 + 1));
  ASSERT_OK(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1));
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(Full(9))));
  EXPECT_THAT(Labels(), ElementsAre(Full(1)));
}

// The note about a finished copy is deleted before anything else, to make room for the tombstone.
TEST_F(ExpireTest, AFinishedCopyMakesRoomForItsTombstone) {
  Have(Full(1), 1);
  HavePacks(Full(9));
  Put(FinishedCopyName(Full(9)), "note");
  int deleted = 0;
  FillUp(node_.store(), 1, &deleted);
  EXPECT_ERROR(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1), ErrorCode::kNoSpace);
  EXPECT_TRUE(repository_.Exists(FinishedCopyName(Full(9)))) << "for a day it may be completed";
  Pass(std::chrono::hours(25));
  ASSERT_OK(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1));
  EXPECT_FALSE(repository_.Exists(PackName(Full(9), 1)));
  EXPECT_TRUE(repository_.Exists(BackupDocumentName(Full(9))));
  EXPECT_ERROR(PutSmall(repository_->store(), BackupDocumentName(Full(9)), AsBytes("late"),
                        PutMode::kCreate),
               ErrorCode::kAlreadyExists);
}

TEST_F(ExpireTest, ALeftOverIsNotDeletedWithoutATombstone) {
  Have(Full(1), 1);
  HavePacks(Full(9));
  Put(FinishedCopyName(Full(9)), "note");
  Pass(std::chrono::hours(25));
  int deleted = 0;
  FillUp(node_.store(), 1'000'000, &deleted);
  const auto decisions = ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1);
  EXPECT_ERROR(decisions, ErrorCode::kNoSpace);
  EXPECT_THAT(decisions.error().hint, HasSubstr("have left 12 bytes, which can be removed"));
  EXPECT_TRUE(repository_.Exists(PackName(Full(9), 1)));
  EXPECT_TRUE(repository_.Exists(PackName(Full(9), 2)));
}

// A process that was only suspended has completed the backup.
TEST_F(ExpireTest, ABackupThatIsCompletedInAFullStoreStays) {
  Have(Full(1), 1);
  HavePacks(Full(9));
  Pass(std::chrono::hours(2));
  node_.store().SetHook([&](Operation operation, std::string_view name) -> Status {
    if (operation != Operation::kPut) {
      return Ok();
    }
    if (name == BackupDocumentName(Full(9)) && !repository_.Exists(std::string(name))) {
      BackupSummary summary = TestSummary(*repository_, Full(9));
      summary.start_time = Day(9);
      Put(BackupDocumentName(Full(9)),
          SerializeSummary(summary, repository_->seal_policy()).value());
    }
    return MakeError(ErrorCode::kNoSpace, "no space left on device");
  });
  [[maybe_unused]] const auto expired =
      ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1);
  EXPECT_THAT(Labels(), Contains(Full(9)));
  EXPECT_TRUE(repository_.Exists(PackName(Full(9), 1)));
}

TEST_F(ExpireTest, LapsedLeasesAreDeletedFromAStoreThatStaysFull) {
  Have(Full(1), 1);
  const std::string lease = LeaseName(Full(1), "00000000000000aa");
  Put(lease, "?");
  int deleted = 0;
  FillUp(node_.store(), 1'000'000, &deleted);
  EXPECT_ERROR(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1), ErrorCode::kNoSpace);
  EXPECT_TRUE(repository_.Exists(lease));
  Pass(std::chrono::hours(25));
  ASSERT_OK(ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1));
  EXPECT_FALSE(repository_.Exists(lease));
}

TEST_F(ExpireTest, AFullStoreWithNothingToRemoveSaysWhatToDo) {
  Have(Full(1), 1);
  int deleted = 0;
  FillUp(node_.store(), 1, &deleted);
  const auto decisions = ExpireUnderLock(*node_, kTestSystem, RetentionSettings{}, 1);
  EXPECT_ERROR(decisions, ErrorCode::kNoSpace);
  EXPECT_THAT(decisions.error().hint, HasSubstr("retention_full"));
  EXPECT_EQ(deleted, 0);
}

TEST_F(ExpireTest, WithoutTheLockNothingIsDeletedWhileAnotherNodeHoldsIt) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  LockNode other(repository_, "node-b");
  std::unique_ptr<ClusterLock> taken = other.Acquire().value();
  int deleted = 0;
  FillUp(node_.store(), 1'000'000, &deleted);
  EXPECT_ERROR(ExpireUnderLock(*node_, kTestSystem, {.full = 1, .diff = 1, .archive = 1}, 1),
               ErrorCode::kFailedPrecondition);
  EXPECT_EQ(deleted, 0);
  ASSERT_OK(taken->Release());
  // Another node takes the lock after the first deletion.
  node_.store().SetHook([&](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kDelete && name == BackupDocumentName(Full(1))) {
      taken = other.Acquire().value();
    }
    if (operation == Operation::kPut) {
      return MakeError(ErrorCode::kNoSpace, "no space left on device");
    }
    return Ok();
  });
  EXPECT_ERROR(ExpireUnderLock(*node_, kTestSystem, {.full = 1, .diff = 1, .archive = 1}, 1),
               ErrorCode::kFailedPrecondition);
  EXPECT_THAT(Labels(), ElementsAre(Full(2), Full(3)));
}

TEST_F(ExpireTest, WithoutTheLockAPinCounts) {
  Have(Full(1), 1);
  Have(Full(2), 2);
  node_.store().SetHook([&](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kPut) {
      [[maybe_unused]] const Status pinned = PinBackup(*repository_, Full(1));
      return MakeError(ErrorCode::kNoSpace, "no space left on device");
    }
    return Ok();
  });
  EXPECT_ERROR(ExpireUnderLock(*node_, kTestSystem, {.full = 1, .diff = 1, .archive = 1}, 1),
               ErrorCode::kNoSpace);
  EXPECT_THAT(Labels(), ElementsAre(Full(1), Full(2)));
}

TEST_F(ExpireTest, WithoutTheLockALeaseCounts) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  HaveWal(5, 35);
  LockNode restorer(repository_, "node-r");
  const RetentionSettings one{.full = 1, .diff = 1, .archive = 1};
  // For a lease that exists before, and for one that appears after the decisions were made.
  auto first =
      RestoreLease::Take(*restorer, ReadBackup(*repository_, Full(1)).value(), "restore").value();
  std::unique_ptr<RestoreLease> second;
  node_.store().SetHook([&](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kDelete && name == WalName(5)) {
      second =
          RestoreLease::Take(*restorer, ReadBackup(*repository_, Full(2)).value(), "drill").value();
    }
    if (operation == Operation::kPut) {
      return MakeError(ErrorCode::kNoSpace, "no space left on device");
    }
    return Ok();
  });
  [[maybe_unused]] const auto expired = ExpireUnderLock(*node_, kTestSystem, one, 1);
  EXPECT_NE(second, nullptr);
  EXPECT_THAT(Labels(), ElementsAre(Full(1), Full(2), Full(3)));
  EXPECT_FALSE(repository_.Exists(WalName(9)));
  EXPECT_TRUE(repository_.Exists(WalName(10)));
}

TEST_F(ExpireTest, AnUnreadableLeaseKeepsWhatItMayNeedForADay) {
  for (int day = 1; day <= 3; ++day) {
    Have(Full(day), day);
  }
  HaveWal(5, 35);
  const RetentionSettings one{.full = 1, .diff = 1, .archive = 1};
  const std::string known = LeaseName(Full(2), "00000000000000aa");
  const std::string unknown = LeaseName(Full(7), "00000000000000bb");
  Put(known, "?");
  Put(unknown, "?");
  ASSERT_OK(Run(one));
  EXPECT_THAT(Labels(), ElementsAre(Full(2), Full(3)));
  EXPECT_TRUE(repository_.Exists(WalName(5))) << "nobody knows what the other one needs";
  ASSERT_OK(repository_->store().Delete(unknown));
  ASSERT_OK(Run(one));
  EXPECT_FALSE(repository_.Exists(WalName(19)));
  EXPECT_TRUE(repository_.Exists(WalName(25))) << "all from the start of its backup on";
  Pass(std::chrono::hours(25));
  ASSERT_OK(Run(one));
  EXPECT_THAT(Labels(), ElementsAre(Full(3)));
  EXPECT_FALSE(repository_.Exists(WalName(25)));
  EXPECT_FALSE(repository_.Exists(known));
}

// --- Temporary files -----------------------------------------------------------------------------

TEST_F(ExpireTest, FragmentsAreDeletedWhenTheyAreAnHourOld) {
  Have(Full(1), 1);
  const auto have = [&](const std::string& name, TimePoint written) {
    WriteText(repository_.PathOf(name), "half of it");
    SetTime(repository_.PathOf(name), written);
  };
  const std::string old = BackupDirectory(Full(5)) + "pack/.veza-tmp-0011223344556677";
  const std::string young = BackupDirectory(Full(6)) + "pack/.veza-tmp-0011223344556678";
  have(old, kTestTime);
  have(young, kTestTime + std::chrono::minutes(170));
  have("wal/.veza-tmp-0011223344556679", kTestTime + std::chrono::hours(3));
  Pass(std::chrono::hours(3));
  const auto decisions = Run({});
  ASSERT_OK(decisions);
  EXPECT_THAT(*decisions,
              Contains(testing::AllOf(testing::Field(&RetentionDecision::name, old),
                                      testing::Field(&RetentionDecision::keep, false))));
  EXPECT_THAT(*decisions, Contains(testing::AllOf(testing::Field(&RetentionDecision::name, young),
                                                  testing::Field(&RetentionDecision::keep, true))));
  EXPECT_FALSE(repository_.Exists(BackupDirectory(Full(5)))) << "and the directories it was in";
  EXPECT_TRUE(repository_.Exists(young));
  EXPECT_THAT(*decisions,
              Not(Contains(testing::Field(&RetentionDecision::name, HasSubstr("wal/.veza-tmp")))))
      << "what is being written";
}

TEST_F(ExpireTest, ItObeysCancellation) {
  Have(Full(1), 1);
  Have(Full(2), 2);
  node_.store().SetHook([&](Operation operation, std::string_view) {
    if (operation == Operation::kDelete) {
      repository_.cancellation().Cancel();
    }
    return Ok();
  });
  EXPECT_ERROR(Run({.full = 1, .diff = 1, .archive = 1}), ErrorCode::kCancelled);
  repository_.cancellation().Reset();
}

// --- Random histories ----------------------------------------------------------------------------

// What must hold for a repository after an expiry, whatever it held before.
class Invariants {
 public:
  Invariants(const History& history, const RetentionSettings& settings,
             std::set<std::string> before)
      : history_(history), settings_(settings), before_(std::move(before)) {
    for (const PastBackup& backup : history.backups) {
      any_broken_ = any_broken_ || backup.broken;
      if (!backup.foreign && !backup.broken) {
        own_.push_back(&backup);
      }
    }
    FindAlive();
    FindNewest();
    for (const PastBackup* backup : own_) {
      if (oldest_present_ == nullptr && backup->is_full && IsGood(*backup) &&
          !LinesOf(*backup).empty() && IsWanted(*backup)) {
        oldest_present_ = backup;
      }
    }
  }

  void Check(const std::set<std::string>& after) {
    after_ = &after;
    for (const std::string& name : after) {
      EXPECT_TRUE(before_.contains(name) || name.ends_with("/backup.json")) << name << " is new";
    }
    for (const std::string& name : history_.untouchable) {
      EXPECT_TRUE(after.contains(name)) << name;
    }
    CheckBackups();
    CheckWal();
    CheckIndexes();
    for (const std::string& label : history_.left_over_labels) {
      EXPECT_FALSE(after.contains(PackName(label, 1))) << label;
      EXPECT_FALSE(after.contains(PackName(label, 2))) << label;
    }
  }

 private:
  const PastBackup* Find(const std::string& label) const {
    const auto found = std::find_if(
        own_.begin(), own_.end(), [&](const PastBackup* backup) { return backup->label == label; });
    return found == own_.end() ? nullptr : *found;
  }
  bool IsGood(const PastBackup& backup) const {
    const PastBackup* const full = Find(backup.full_label);
    return !backup.has_failures && full != nullptr && !full->has_failures;
  }
  bool Exists(const std::string& label) const {
    return after_->contains(BackupDocumentName(label));
  }
  // Whether a backup is on the path from the first timeline to the end of `line`.
  bool IsOn(TimelineId line, const PastBackup& backup) const {
    SegmentNumber end = std::numeric_limits<SegmentNumber>::max();
    while (line != backup.timeline && line != 0) {
      end = history_.branches.at(line).left_in;
      line = history_.branches.at(line).parent;
    }
    return line != 0 && backup.last < end;
  }
  std::vector<TimelineId> LinesOf(const PastBackup& backup) const {
    std::vector<TimelineId> lines;
    std::ranges::copy_if(alive_, std::back_inserter(lines),
                         [&](TimelineId line) { return IsOn(line, backup); });
    return lines;
  }
  // Finds the timelines that have recently grown beyond the point where their last child left them.
  void FindAlive() {
    std::map<TimelineId, const PastSegment*> last;
    TimePoint newest{};
    for (const PastSegment& segment : history_.segments) {
      const PastSegment*& of_timeline = last[segment.timeline];
      if (of_timeline == nullptr || segment.number >= of_timeline->number) {
        of_timeline = &segment;
      }
    }
    for (const auto& [timeline, segment] : last) {
      newest = std::max(newest, segment->stored);
    }
    for (const auto& [timeline, segment] : last) {
      const bool grows = std::ranges::none_of(
          history_.branches, [line = timeline, number = segment->number](const auto& child) {
            return child.second.parent == line && number < child.second.left_in;
          });
      if (grows && newest - segment->stored < std::chrono::hours(24 * 7)) {
        alive_.push_back(timeline);
      }
    }
  }
  void FindNewest() {
    for (const TimelineId line : alive_) {
      const PastBackup* newest = nullptr;
      for (const PastBackup* backup : own_) {
        newest = IsGood(*backup) && IsOn(line, *backup) ? backup : newest;
      }
      if (newest != nullptr) {
        newest_good_.insert(newest);
      }
    }
    if (!newest_good_.empty()) {
      return;
    }
    const PastBackup* by_time = nullptr;
    const PastBackup* by_timeline = nullptr;
    for (const PastBackup* backup : own_) {
      if (IsGood(*backup)) {
        by_time = backup;
        by_timeline = by_timeline == nullptr || backup->timeline >= by_timeline->timeline
                          ? backup
                          : by_timeline;
      }
    }
    if (by_time != nullptr) {
      newest_good_ = {by_time, by_timeline};
    }
  }
  // Counts backups that were made later, on one path.
  std::size_t NewerGood(const PastBackup& backup, TimelineId line) const {
    return static_cast<std::size_t>(
        std::count_if(own_.begin(), own_.end(), [&](const PastBackup* other) {
          return other > &backup && other->is_full == backup.is_full && IsGood(*other) &&
                 IsOn(line, *other);
        }));
  }
  // Decides by the settings, wherever the backup is.
  bool IsWanted(const PastBackup& backup) const {
    const int setting = backup.is_full ? settings_.full : settings_.diff;
    const auto has_place = [&](TimelineId line) {
      return Within(NewerGood(backup, line), setting);
    };
    const std::vector<TimelineId> lines = LinesOf(backup);
    if (!lines.empty() || setting == 0) {
      return setting == 0 || std::ranges::any_of(lines, has_place);
    }
    return has_place(backup.timeline) && (oldest_present_ == nullptr || oldest_present_ < &backup);
  }
  static bool Within(std::size_t rank, int setting) {
    return setting == 0 || rank < static_cast<std::size_t>(setting);
  }
  // Decides by what the settings do not say.
  bool IsForced(const PastBackup& backup) const {
    return std::any_of(
        history_.backups.begin(), history_.backups.end(), [&](const PastBackup& other) {
          const bool stays = other.pinned || other.broken || newest_good_.contains(&other);
          return stays && (other.label == backup.label || other.full_label == backup.label);
        });
  }

  void CheckBackups() const {
    for (const PastBackup& backup : history_.backups) {
      const bool exists = Exists(backup.label);
      for (const std::string& name :
           {PackName(backup.label, 1), PackName(backup.label, 2), ManifestName(backup.label)}) {
        EXPECT_EQ(after_->contains(name), exists) << name;
      }
      if (backup.foreign || backup.broken || IsForced(backup)) {
        EXPECT_TRUE(exists) << backup.label;
        continue;
      }
      if (backup.is_full) {
        EXPECT_EQ(exists, IsWanted(backup)) << backup.label;
        continue;
      }
      EXPECT_EQ(exists, Exists(backup.full_label) && IsWanted(backup)) << backup.label;
      EXPECT_TRUE(!exists || Exists(backup.full_label)) << backup.label;
    }
  }

  // A segment may be missing only if nobody needs it, and a segment that nobody needs must be gone.
  void CheckWal() const {
    TimelineId newest_with_backup = 0;
    for (const PastBackup* backup : own_) {
      if (Exists(backup->label)) {
        newest_with_backup = std::max(newest_with_backup, backup->timeline);
      }
    }
    const bool some_line_lacks_a_full = std::ranges::any_of(alive_, [&](TimelineId line) {
      return std::ranges::none_of(own_, [&](const PastBackup* backup) {
        return backup->is_full && IsGood(*backup) && IsOn(line, *backup);
      });
    });
    const bool all_stays = settings_.archive == 0 || any_broken_ || newest_good_.empty() ||
                           alive_.back() > newest_with_backup || some_line_lacks_a_full;
    for (const PastSegment& segment : history_.segments) {
      const bool needed =
          all_stays || std::any_of(own_.begin(), own_.end(), [&](const PastBackup* backup) {
            return Needs(*backup, segment);
          });
      EXPECT_EQ(after_->contains(segment.name), needed) << segment.name;
    }
  }
  // An index goes when all the WAL that it describes is gone.
  void CheckIndexes() const {
    for (const PastIndex& index : history_.indexes) {
      const bool describes_wal =
          std::ranges::any_of(history_.segments, [&](const PastSegment& segment) {
            return segment.timeline == index.timeline && index.first <= segment.number &&
                   segment.number <= index.last && after_->contains(segment.name);
          });
      EXPECT_EQ(after_->contains(index.name), describes_wal) << index.name;
    }
  }
  bool Needs(const PastBackup& backup, const PastSegment& segment) const {
    const bool anchors = newest_good_.contains(&backup) ||
                         (backup.is_full && IsGood(backup) &&
                          std::ranges::any_of(LinesOf(backup), [&](TimelineId line) {
                            return Within(NewerGood(backup, line), settings_.archive) &&
                                   Within(NewerGood(backup, line), settings_.full);
                          }));
    return (anchors && segment.number >= backup.first) ||
           (Exists(backup.label) && backup.first <= segment.number &&
            segment.number <= backup.last);
  }

  const History& history_;
  const RetentionSettings settings_;
  const std::set<std::string> before_;
  std::vector<const PastBackup*> own_;
  std::vector<TimelineId> alive_;
  std::set<const PastBackup*> newest_good_;
  const PastBackup* oldest_present_ = nullptr;
  bool any_broken_ = false;
  const std::set<std::string>* after_ = nullptr;
};

class RandomHistory : public testing::TestWithParam<int> {
 protected:
  static RetentionSettings Settings(History& history) {
    return {.full = static_cast<int>(history.Below(5)),
            .diff = static_cast<int>(history.Below(6)),
            .archive = static_cast<int>(history.Below(5))};
  }

  // Runs an expiry in which the operation number `fail_at` that changes something fails, as after a
  // crash. Returns the number of such operations.
  static int Run(History& history, const RetentionSettings& settings, int fail_at, int at_once) {
    LockNode node(history.repository, "node-a");
    const auto lock = node.Acquire("expire").value();
    std::atomic<int> changes{0};
    node.store().SetHook([&](Operation operation, std::string_view name) -> Status {
      const bool is_change = (operation == Operation::kDelete || operation == Operation::kPut) &&
                             !name.starts_with(kLockPrefix);
      if (is_change && ++changes >= fail_at) {
        return MakeError(ErrorCode::kUnavailable, "interrupted");
      }
      return Ok();
    });
    const auto expired = Expire(*node, kTestSystem, settings, *lock, at_once);
    EXPECT_EQ(expired.has_value(), changes < fail_at);
    EXPECT_OK(lock->Release());
    return changes;
  }

  static std::set<std::string> WithoutTombstones(const History& history) {
    std::set<std::string> names = history.Objects();
    const BackupCatalog catalog = ReadBackupCatalog(*history.repository).value();
    for (const std::string& label : catalog.buried) {
      names.erase(BackupDocumentName(label));
    }
    return names;
  }
};

constexpr int kNever = 1'000'000;

TEST_P(RandomHistory, KeepsTheInvariants) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  History history(seed);
  const RetentionSettings settings = Settings(history);
  SCOPED_TRACE(fmt::format("seed {}, settings {} {} {}", seed, settings.full, settings.diff,
                           settings.archive));
  Invariants invariants(history, settings, history.Objects());
  Run(history, settings, kNever, 4);
  invariants.Check(WithoutTombstones(history));
  EXPECT_EQ(Run(history, settings, kNever, 4), 0) << "a second run has nothing to do";
}

// Also when it is interrupted repeatedly, at any object.
TEST_P(RandomHistory, InterruptedItEndsInTheSameState) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  History whole(seed);
  const RetentionSettings settings = Settings(whole);
  SCOPED_TRACE(fmt::format("seed {}, settings {} {} {}", seed, settings.full, settings.diff,
                           settings.archive));
  Run(whole, settings, kNever, 1);
  const std::set<std::string> expected = WithoutTombstones(whole);

  History history(seed);
  ASSERT_EQ(Settings(history).full, settings.full);
  const std::set<std::string> before = history.Objects();
  // The first change of a run may be a tombstone that exists already. Two runs that fail at their
  // second change would then be the same.
  const auto fail_at = [&history] { return 3 + static_cast<int>(history.Below(10)); };
  for (int limit = fail_at(); Run(history, settings, limit, 1) >= limit; limit = fail_at()) {
    const BackupCatalog catalog = ReadBackupCatalog(*history.repository).value();
    for (const BackupSummary& backup : catalog.backups) {
      EXPECT_TRUE(history.repository.Exists(ManifestName(backup.label))) << backup.label;
      EXPECT_TRUE(history.repository.Exists(PackName(backup.label, 1))) << backup.label;
      EXPECT_TRUE(
          history.repository.Exists(BackupDocumentName(ParseLabel(backup.label)->full_label)))
          << backup.label;
    }
  }
  EXPECT_EQ(WithoutTombstones(history), expected);
  Invariants(history, settings, before).Check(WithoutTombstones(history));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomHistory, testing::Range(1, 21));

// A backup that another writer has just made may say that more is to be kept.
TEST_F(ExpireTest, TheNumbersAreChosenUnderTheLock) {
  Have(Full(0), 0);
  Have(Full(1), 1);
  const auto choose = [&](const BackupCatalog& catalog) -> Result<RetentionSettings> {
    EXPECT_TRUE(ReadLockState(*repository_).value().alive);
    EXPECT_THAT(catalog.backups, SizeIs(2));
    return RetentionSettings{.full = 1, .archive = 1};
  };
  EXPECT_OK(ExpireUnderLock(*node_, kTestSystem, choose, 1));
  EXPECT_THAT(Labels(), ElementsAre(Full(1)));
}

}  // namespace
}  // namespace veza
