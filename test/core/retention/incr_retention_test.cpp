// Retention of incrs: nothing that is named is ever deleted, and nothing that nobody names stays
// for ever.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "core/repository/lock_nodes.h"
#include "core/repository/test_backup.h"
#include "core/retention/expire.h"
#include "core/retention/pins.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Operation = FaultStore::Operation;

// Each backup has two packs, and is made an hour after the one before.
class IncrRetentionTest : public testing::Test {
 protected:
  IncrRetentionTest() : node_(repository_, "node-a") {}

  TimePoint NextTime() { return kTestTime + std::chrono::hours(++made_); }
  std::string Full() { return Have(FullLabel(NextTime()), {}); }
  std::string Diff(const std::string& full) { return Have(DiffLabel(full, NextTime()), {full}); }
  std::string Incr(const std::string& parent, const std::vector<std::string>& names) {
    return Have(IncrLabel(ParseLabel(parent)->full_label, NextTime()), names, parent);
  }
  std::string Have(const std::string& label, const std::vector<std::string>& names,
                   const std::string& parent = "") {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.start_lsn = Lsn{static_cast<std::uint64_t>(made_) * 10 * kTestSegmentSize + 0x28};
    summary.stop_lsn = Lsn{summary.start_lsn.value + kTestSegmentSize};
    summary.manifest_sha256 = Sha256Of(AsBytes(label));
    summary.manifest_size = 8;
    summary.checksum_failures = std::exchange(failures_, 0);
    summary.parent = parent;
    summary.sources.clear();
    for (const std::string& name : names) {
      summary.sources.push_back({name, Sha256Of(AsBytes(name))});
    }
    Put(PackName(label, 1), "pack");
    Put(PackName(label, 2), "pack");
    Put(ManifestName(label), "manifest");
    Put(BackupDocumentName(label), SerializeSummary(summary, repository_->seal_policy()).value());
    backups_[label] = std::move(summary);
    return label;
  }
  void Put(const std::string& name, std::string_view content) {
    ASSERT_OK(PutSmall(repository_->store(), name, AsBytes(content), PutMode::kCreate));
  }
  // Not a tombstone, which an expiry leaves that has deleted the rest of an interrupted one.
  bool Exists(const std::string& label) const {
    const std::string name = BackupDocumentName(label);
    return repository_.Exists(name) &&
           ReadText(repository_.PathOf(name)).find("tombstone") == std::string::npos;
  }
  bool HasPacks(const std::string& label) const {
    return repository_.Exists(PackName(label, 1)) && repository_.Exists(PackName(label, 2));
  }
  Result<std::vector<RetentionDecision>> Run(const RetentionSettings& settings) {
    ASSIGN_OR_RETURN(const std::unique_ptr<ClusterLock> lock, node_.Acquire("expire"));
    auto decisions = Expire(*node_, kTestSystem, settings, *lock, 1);
    RETURN_IF_ERROR(lock->Release());
    return decisions;
  }
  std::vector<std::string> Labels() const {
    std::vector<std::string> labels;
    for (const auto& [label, backup] : backups_) {
      if (Exists(label)) {
        labels.push_back(label);
      }
    }
    return labels;
  }
  // Labels in the order in which an expiry removes them. `before` is called before each.
  std::vector<std::string> Removed(const RetentionSettings& settings,
                                   const std::function<void(std::string_view)>& before = {}) {
    std::vector<std::string> removed;
    node_.store().SetHook([&](Operation operation, std::string_view name) {
      if (operation == Operation::kDelete && name.ends_with("/backup.json")) {
        name.remove_prefix(kBackupPrefix.size());
        removed.emplace_back(name.substr(0, name.find('/')));
        if (before) {
          before(removed.back());
        }
      }
      return Ok();
    });
    EXPECT_OK(Run(settings));
    node_.store().SetHook(nullptr);
    return removed;
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  LockNode node_;
  std::map<std::string, BackupSummary> backups_;
  int made_ = 0;
  std::uint64_t failures_ = 0;  // of the next backup
};

constexpr RetentionSettings kOneOfEach{.full = 1, .diff = 1, .incr = 1, .archive = 1};

TEST_F(IncrRetentionTest, TheNewestIncrsStayWithWhatTheyName) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string first = Incr(diff, {full, diff});
  const std::string second = Incr(first, {full});
  const std::string third = Incr(second, {diff});
  const std::string later = Diff(full);
  EXPECT_THAT(Removed(kOneOfEach), ElementsAre(second, first));
  EXPECT_THAT(Labels(), UnorderedElementsAre(full, diff, third, later));
}

TEST_F(IncrRetentionTest, WhatIsNeededByWhatIsNeededStays) {
  const std::string full = Full();
  const std::string first = Incr(full, {full});
  const std::string second = Incr(first, {first});
  const std::string third = Incr(second, {second});
  EXPECT_THAT(Removed(kOneOfEach), IsEmpty());
  const auto decisions = PlanExpire(*repository_, kTestSystem, kOneOfEach).value();
  const auto decision = std::ranges::find(decisions, first, &RetentionDecision::name);
  EXPECT_EQ(decision->reason, "incr \"" + second + "\" needs it");
}

TEST_F(IncrRetentionTest, AFullGoesWithAllThatBuildsOnIt) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string first = Incr(diff, {full, diff});
  const std::string second = Incr(first, {full, first});
  const std::string next = Full();
  EXPECT_THAT(Removed({.full = 1, .diff = 7, .incr = 7, .archive = 1}),
              ElementsAre(second, first, diff, full));
  EXPECT_THAT(Labels(), ElementsAre(next));
}

TEST_F(IncrRetentionTest, APinnedIncrKeepsWhatItNames) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string first = Incr(diff, {full, diff});
  const std::string second = Incr(first, {full});
  Incr(second, {full});
  Full();
  ASSERT_OK(PinBackup(*repository_, first));
  EXPECT_THAT(Removed(kOneOfEach), ElementsAre(second));
  EXPECT_TRUE(HasPacks(full));
  EXPECT_TRUE(HasPacks(diff));
}

// The plan was to remove them all.
TEST_F(IncrRetentionTest, AnIncrThatIsPinnedMeanwhileKeepsWhatItNames) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string first = Incr(diff, {full, diff});
  const std::string second = Incr(first, {first});
  const std::string third = Incr(second, {full});
  Full();
  const auto removed = Removed(kOneOfEach, [&](std::string_view label) {
    if (label == third) {
      EXPECT_OK(PinBackup(*repository_, second));
    }
  });
  EXPECT_THAT(removed, ElementsAre(third));
  for (const std::string& label : {full, diff, first, second}) {
    EXPECT_TRUE(Exists(label) && HasPacks(label)) << label;
  }
}

TEST_F(IncrRetentionTest, ADamagedIncrKeepsAllThatItMayName) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string first = Incr(diff, {full});
  const std::string second = Incr(first, {diff});
  const std::string later = Diff(full);
  Diff(full);
  Full();
  FlipByte(repository_.PathOf(BackupDocumentName(second)), 100);
  EXPECT_THAT(Removed(kOneOfEach), ElementsAre(later));
  for (const std::string& label : {full, diff, first, second}) {
    EXPECT_TRUE(HasPacks(label)) << label;
  }
}

TEST_F(IncrRetentionTest, AnIncrThatHasLostWhatItNamesGoes) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string incr = Incr(diff, {full, diff});
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(diff)));
  const auto decisions =
      PlanExpire(*repository_, kTestSystem, {.full = 1, .diff = 7, .incr = 7, .archive = 1})
          .value();
  const auto decision = std::ranges::find(decisions, incr, &RetentionDecision::name);
  EXPECT_FALSE(decision->keep);
  EXPECT_THAT(decision->reason, HasSubstr(diff));
}

// Version 0.1 may have removed the full, or somebody by hand.
TEST_F(IncrRetentionTest, AnIncrThatNamesNothingOfItsFullDoesNotNeedIt) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string incr = Incr(diff, {diff});
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(full)));
  EXPECT_THAT(Removed({.full = 1, .diff = 7, .incr = 7, .archive = 1}), IsEmpty());
  EXPECT_THAT(Labels(), UnorderedElementsAre(diff, incr));
}

TEST_F(IncrRetentionTest, TheFullIsMarkedEvenIfNothingOfItIsNamed) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  ASSERT_OK(MarkAsNamed(*repository_, {{diff, {}}}));
  EXPECT_TRUE(repository_.Exists(NamedMarkName(diff)));
  EXPECT_TRUE(repository_.Exists(NamedMarkName(full)));
}

// The marks are for version 0.1, which takes them for pins.
TEST_F(IncrRetentionTest, TheMarkOfANamedBackupIsNoPinAndGoesWithIt) {
  const std::string full = Full();
  const std::string diff = Diff(full);
  const std::string incr = Incr(diff, {full, diff});
  ASSERT_OK(MarkAsNamed(*repository_, backups_[incr].sources));
  ASSERT_OK(MarkAsNamed(*repository_, backups_[incr].sources));
  for (const std::string& label : {full, diff}) {
    // What 0.1 looks for right before it deletes a backup.
    const Result<bool> found = HoldsObject(repository_->store(), "pin/" + label);
    ASSERT_OK(found);
    EXPECT_TRUE(*found);
    EXPECT_FALSE(IsPinned(*repository_, label).value());
  }
  EXPECT_THAT(ReadPins(*repository_).value(), IsEmpty());
  Full();
  EXPECT_THAT(Removed(kOneOfEach), ElementsAre(incr, diff, full));
  EXPECT_FALSE(HoldsObject(repository_->store(), "pin/").value());
}

// A backup with damaged pages must not push out good ones, nor may one that names it.
TEST_F(IncrRetentionTest, AnIncrOfABackupWithDamagedPagesIsNotGood) {
  const std::string full = Full();
  const std::string good = Incr(full, {full});
  failures_ = 1;
  const std::string bad = Incr(good, {full});
  const std::string heir = Incr(bad, {full, bad});
  Removed(kOneOfEach);
  EXPECT_TRUE(Exists(good));
}

// What an expiry should leave, computed in another way: walks from what stays to what that names.
class RandomIncrs : public IncrRetentionTest, public testing::WithParamInterface<int> {
 protected:
  RandomIncrs() : random_(static_cast<unsigned>(GetParam())) {}

  std::uint32_t Below(std::size_t limit) {
    return static_cast<std::uint32_t>(random_() % std::max<std::size_t>(limit, 1));
  }

  void MakeOne() {
    const std::vector<std::string> labels = Labels();
    const std::uint32_t kind = Below(10);
    if (labels.empty() || kind == 0) {
      Full();
      return;
    }
    const std::string& newest = *std::ranges::max_element(
        labels, {}, [](const auto& label) { return LabelTimeText(label); });
    if (kind < 3) {
      Diff(ParseLabel(newest)->full_label);
    } else if (kind == 3) {
      // A backup that fails leaves packs.
      const std::string label = IncrLabel(ParseLabel(newest)->full_label, NextTime());
      Put(PackName(label, 1), "pack");
      failed_.push_back(label);
    } else {
      std::set<std::string> names;
      for (const SourceBackup& source : backups_[newest].sources) {
        if (Below(4) != 0) {
          names.insert(source.label);
        }
      }
      if (Below(4) != 0) {
        names.insert(newest);
      }
      Incr(newest, {names.begin(), names.end()});
    }
  }

  // All that stays by number, by a pin or as the newest, and what these name.
  std::set<std::string> Wanted(const RetentionSettings& settings) const {
    std::vector<std::string> labels = Labels();
    if (labels.empty()) {
      return {};
    }
    std::ranges::sort(labels, std::greater(),
                      [](const std::string& label) { return LabelTimeText(label); });
    std::set<std::string> roots;
    const auto is_in = [&](BackupType type) {
      return [type](const std::string& label) { return ParseLabel(label)->type == type; };
    };
    const auto first = [&](BackupType type, int number) {
      std::set<std::string> some;
      for (const std::string& label : labels) {
        if (is_in(type)(label) && (number == 0 || static_cast<int>(some.size()) < number)) {
          some.insert(label);
        }
      }
      return some;
    };
    const std::set<std::string> fulls = first(BackupType::kFull, settings.full);
    std::set<std::string> kept_fulls = fulls;
    for (const std::string& label : labels) {
      const bool forced = label == labels.front() || pinned_.contains(label);
      if (forced) {
        roots.insert(label);
        kept_fulls.insert(ParseLabel(label)->full_label);
      }
    }
    roots.insert(kept_fulls.begin(), kept_fulls.end());
    for (const auto& [type, number] : {std::pair(BackupType::kDiff, settings.diff),
                                       std::pair(BackupType::kIncr, settings.incr)}) {
      for (const std::string& label : first(type, number)) {
        if (kept_fulls.contains(ParseLabel(label)->full_label)) {
          roots.insert(label);
        }
      }
    }
    std::set<std::string> wanted;
    std::vector<std::string> left(roots.begin(), roots.end());
    while (!left.empty()) {
      const std::string label = left.back();
      left.pop_back();
      if (wanted.insert(label).second) {
        for (const SourceBackup& source : backups_.at(label).sources) {
          left.push_back(source.label);
        }
      }
    }
    return wanted;
  }

  // Whatever has happened: what a backup names is there.
  void ExpectWhole() const {
    for (const auto& [label, backup] : backups_) {
      if (!Exists(label)) {
        continue;
      }
      EXPECT_TRUE(HasPacks(label)) << label;
      for (const SourceBackup& source : backup.sources) {
        EXPECT_TRUE(Exists(source.label) && HasPacks(source.label))
            << source.label << ", which " << label << " names";
      }
    }
  }

  // Returns whether the expiry came to its end. The operation number `fail_at` that changes
  // something fails.
  bool RunUntil(const RetentionSettings& settings, int fail_at) {
    std::atomic<int> changes{0};
    node_.store().SetHook([&](Operation operation, std::string_view name) -> Status {
      const bool is_change = (operation == Operation::kDelete || operation == Operation::kPut) &&
                             !name.starts_with(kLockPrefix);
      return is_change && ++changes >= fail_at
                 ? Status(MakeError(ErrorCode::kUnavailable, "interrupted"))
                 : Ok();
    });
    const auto lock = node_.Acquire("expire").value();
    const bool ended = Expire(*node_, kTestSystem, settings, *lock, 1).has_value();
    node_.store().SetHook(nullptr);
    EXPECT_OK(lock->Release());
    return ended;
  }

  std::mt19937 random_;
  std::set<std::string> pinned_;
  std::vector<std::string> failed_;
};

TEST_P(RandomIncrs, NothingNamedIsDeletedAndNothingElseStays) {
  for (int round = 0; round < 6; ++round) {
    for (std::uint32_t n = Below(12); n > 0; --n) {
      MakeOne();
    }
    const std::vector<std::string> labels = Labels();
    if (!labels.empty() && Below(2) == 0) {
      const std::string& label = labels[Below(labels.size())];
      ASSERT_OK(PinBackup(*repository_, label));
      pinned_.insert(label);
    }
    if (!pinned_.empty() && Below(3) == 0) {
      ASSERT_OK(UnpinBackup(*repository_, *pinned_.begin()));
      pinned_.erase(pinned_.begin());
    }
    const RetentionSettings settings{.full = static_cast<int>(1 + Below(3)),
                                     .diff = static_cast<int>(Below(4)),
                                     .incr = static_cast<int>(Below(4)),
                                     .archive = 1};
    repository_.clock().Sleep(std::chrono::hours(2), nullptr);
    std::set<std::string> wanted = Wanted(settings);
    while (!RunUntil(settings, 3 + static_cast<int>(Below(12)))) {
      ExpectWhole();
      wanted = Wanted(settings);  // what is gone does not count any more
    }
    ExpectWhole();
    const std::vector<std::string> left = Labels();
    EXPECT_EQ(std::set<std::string>(left.begin(), left.end()), wanted) << "round " << round;
    for (const auto& [label, backup] : backups_) {
      EXPECT_EQ(repository_.Exists(PackName(label, 1)), Exists(label)) << label;
    }
    for (const std::string& label : failed_) {
      EXPECT_FALSE(repository_.Exists(PackName(label, 1))) << label;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomIncrs, testing::Range(1, 13));

}  // namespace
}  // namespace veza
