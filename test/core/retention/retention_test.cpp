#include "core/retention/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// A history in which the backup of day N starts in segment 10 N and stops in segment 10 N + 1.
class RetentionTest : public testing::Test {
 protected:
  RetentionTest() {
    input_.system_identifier = kTestSystem;
    input_.wal_segment_size = kTestSegmentSize;
    input_.now = Day(1000);
    HaveTimelines({{1, TimelineHistory{}, 9999, Day(1000)}});
  }

  static TimePoint Day(int day) { return kTestTime + std::chrono::hours(24 * day); }
  static std::string Full(int day) { return FullLabel(Day(day)); }
  static std::string Diff(int full, int day) { return DiffLabel(Full(full), Day(day)); }

  BackupSummary& Have(const std::string& label, int day) {
    BackupSummary backup;
    backup.label = label;
    backup.type = ParseLabel(label)->type;
    backup.system_identifier = kTestSystem;
    backup.timeline = 1;
    backup.start_time = Day(day);
    backup.stop_time = Day(day) + std::chrono::hours(2);
    backup.start_lsn = Lsn{static_cast<std::uint64_t>(day) * 10 * kTestSegmentSize + 0x28};
    backup.stop_lsn = Lsn{backup.start_lsn.value + kTestSegmentSize};
    backup.stored_size = 100;
    if (backup.type == BackupType::kDiff) {
      backup.sources = {{backup.full_label(), {}}};
    }
    input_.catalog.backups.push_back(backup);
    return input_.catalog.backups.back();
  }
  void HaveTimelines(std::vector<TimelineTrace> traces) {
    input_.lineage = Lineage(kTestSegmentSize, std::move(traces));
  }
  // Timeline 2 left timeline 1 after the backup of day `day`. Both have grown since.
  void HaveBranch(int day, TimePoint grown_1, TimePoint grown_2) {
    const SegmentNumber left = static_cast<SegmentNumber>(day) * 10 + 5;
    HaveTimelines({{1, TimelineHistory{}, 9999, grown_1},
                   {2, TimelineHistory{2, {{1, Lsn{left * kTestSegmentSize}}}}, 9999, grown_2}});
  }
  // Labels follow the clock of some node; positions do not.
  BackupSummary& HaveFullLabelled(int label_day, int day) { return Have(Full(label_day), day); }
  BackupSummary& HaveFull(int day) { return Have(Full(day), day); }
  BackupSummary& HaveDiff(int full, int day) { return Have(Diff(full, day), day); }
  void HaveWal(SegmentNumber first, SegmentNumber last, TimelineId timeline = 1) {
    for (SegmentNumber segment = first; segment <= last; ++segment) {
      HaveWalFile(SegmentName(timeline, segment, kTestSegmentSize));
    }
  }
  void HaveWalFile(const std::string& file) {
    ObjectInfo object;
    object.name = WalObjectName(kTestSystem, file).value();
    object.size = 1;
    wal_[object.name] = object;
  }

  void Plan() {
    decisions_ = PlanRetention(input_, [this](const Store::ObjectVisitor& each) -> Status {
                   for (const auto& [name, object] : wal_) {
                     RETURN_IF_ERROR(each(object));
                   }
                   return Ok();
                 }).value();
  }
  std::vector<std::string> Removed(RetentionKind kind = RetentionKind::kBackup) {
    Plan();
    std::vector<std::string> names;
    for (const RetentionDecision& decision : decisions_) {
      EXPECT_FALSE(decision.reason.empty()) << decision.name;
      if (decision.kind == kind && !decision.keep) {
        names.push_back(decision.name);
      }
    }
    return names;
  }
  // "5-9" for every range that is removed.
  std::vector<std::string> RemovedWal() {
    Plan();
    std::vector<std::string> ranges;
    for (const RetentionDecision& decision : decisions_) {
      if (decision.kind == RetentionKind::kWal && !decision.keep) {
        ranges.push_back(fmt::format("{}-{}", SegmentNumberOf(decision.name, kTestSegmentSize),
                                     SegmentNumberOf(decision.last, kTestSegmentSize)));
      }
    }
    return ranges;
  }
  std::string Reason(const std::string& name) {
    Plan();
    for (const RetentionDecision& decision : decisions_) {
      if (decision.name == name) {
        return decision.reason;
      }
    }
    return "no decision";
  }

  RetentionInput input_;
  std::map<std::string, ObjectInfo> wal_;
  std::vector<RetentionDecision> decisions_;
};

TEST_F(RetentionTest, AnEmptyRepositoryHasNothingToDecide) {
  Plan();
  EXPECT_THAT(decisions_, IsEmpty());
}

TEST_F(RetentionTest, TheNewestFullsStayAndAnOlderOneIsRemovedWithItsDiffs) {
  input_.settings = {.full = 2, .diff = 100, .archive = 0};
  HaveFull(1);
  HaveDiff(1, 2);
  HaveDiff(1, 3);
  HaveFull(4);
  HaveDiff(4, 5);
  HaveFull(6);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1), Diff(1, 2), Diff(1, 3)));
  EXPECT_EQ(Reason(Full(1)), "2 newer full backups are kept (retention_full)");
  EXPECT_EQ(Reason(Diff(1, 2)), "goes with its full backup \"" + Full(1) + "\"");
  EXPECT_EQ(Reason(Full(4)), "one of the 2 newest full backups (retention_full)");
}

TEST_F(RetentionTest, TheNewestDiffsStayAndFullsAreNotCounted) {
  input_.settings = {.full = 4, .diff = 2, .archive = 0};
  HaveFull(1);
  HaveDiff(1, 2);
  HaveFull(3);
  HaveDiff(3, 4);
  HaveFull(5);
  HaveDiff(5, 6);
  EXPECT_THAT(Removed(), ElementsAre(Diff(1, 2)));
  EXPECT_EQ(Reason(Diff(1, 2)), "2 newer diff backups are kept (retention_diff)");
}

TEST_F(RetentionTest, ZeroMeansAll) {
  input_.settings = {.full = 0, .diff = 0, .archive = 0};
  for (int day = 1; day < 60; day += 2) {
    HaveFull(day);
    HaveDiff(day, day + 1);
  }
  HaveWal(0, 700);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(RemovedWal(), IsEmpty());
}

TEST_F(RetentionTest, DamagedFullsNeitherCountNorDisplaceOthers) {
  input_.settings = {.full = 2, .diff = 7, .archive = 1};
  HaveFull(1);
  HaveFull(2).checksum_failures = 1;
  HaveFull(3);
  HaveFull(4).checksum_failures = 2;
  HaveFull(5).checksum_failures = 3;
  HaveWal(5, 60);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(Reason(Full(5)), HasSubstr("has page checksum failures"));
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9", "12-19", "22-29")) << "good from day 3 on";
  HaveFull(6);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1), Full(2)));
}

// A rule of the store has taken packs of the newest two.
TEST_F(RetentionTest, FullsThatLackPacksNeitherCountNorDisplaceOthers) {
  input_.settings = {.full = 2, .diff = 7, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveFull(3);
  HaveDiff(3, 4);
  HaveWal(5, 50);
  input_.lost[Full(2)].name = PackName(Full(2), 1);
  input_.lost[Full(3)].reason = "it cannot be listed";
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(Reason(Full(1)), HasSubstr("newest good backup"));
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9")) << "recovery from day 1 needs the rest";
  input_.lost.clear();
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1)));
}

// The damage of the newest two was found when they were read.
TEST_F(RetentionTest, FullsThatAreKnownAsDamagedDisplaceNoOthers) {
  input_.settings = {.full = 2, .diff = 7, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveFull(3);
  HaveDiff(3, 4);
  HaveWal(5, 50);
  for (const LostPart::By by : {LostPart::By::kRecord, LostPart::By::kDoubt}) {
    for (const int day : {2, 3}) {
      input_.lost[Full(day)] = {.name = {}, .reason = "a pack is damaged", .by = by};
    }
    EXPECT_THAT(Removed(), IsEmpty());
    EXPECT_EQ(Reason(Full(1)), "newest good backup");
    EXPECT_THAT(Reason(Diff(3, 4)), HasSubstr("would be the newest good backup, but"));
    EXPECT_THAT(RemovedWal(), ElementsAre("5-9")) << "recovery from day 1 needs the rest";
  }
  input_.lost.clear();
  EXPECT_THAT(Removed(), ElementsAre(Full(1)));
}

TEST_F(RetentionTest, ARecordOfDamageGoesWithItsBackup) {
  input_.settings = {.full = 1, .diff = 7, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  input_.catalog.broken.push_back({Full(3), MakeError(ErrorCode::kDataCorrupted, "damaged")});
  input_.damage_records = {Full(1), Full(2), Full(3), Full(4)};
  EXPECT_THAT(Removed(RetentionKind::kDamage), ElementsAre(Full(1), Full(4)));
}

// Nobody who writes records of damage can have anything removed by that.
TEST_F(RetentionTest, NoRecordOfDamageIsTheReasonOfARemoval) {
  std::mt19937 random(1);
  const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
  for (int round = 0; round < 200; ++round) {
    input_.catalog.backups.clear();
    input_.lost.clear();
    wal_.clear();
    HaveBranch(3, Day(round % 2 == 0 ? 1000 : 900), Day(1000));
    input_.settings = {.full = 1 + below(3), .diff = 1 + below(3), .archive = 1 + below(3)};
    input_.settings.window = std::chrono::hours(24 * 15 * below(2));
    input_.settings.keep.clear();
    if (below(2) == 0) {
      input_.settings.keep.push_back({.count = 1 + below(4), .period = KeepPeriod::kDay});
    }
    input_.now = Day(below(2) == 0 ? 20 : 1000);
    HaveWal(5, 130);
    int full = 1;
    for (int day = 1; day <= 12; ++day) {
      if (day == 1 || below(3) == 0) {
        full = day;
      }
      BackupSummary& backup = full == day ? HaveFull(day) : HaveDiff(full, day);
      backup.timeline = day > 4 && below(2) == 0 ? 2 : 1;
    }
    const auto removed = [&] {
      std::vector<std::string> all = Removed();
      for (const RetentionDecision& decision : decisions_) {
        if (decision.kind == RetentionKind::kWal && !decision.keep) {
          for (SegmentNumber segment = SegmentNumberOf(decision.name, kTestSegmentSize);
               segment <= SegmentNumberOf(decision.last, kTestSegmentSize); ++segment) {
            all.push_back(fmt::format("{} {}", decision.name.substr(0, 8), segment));
          }
        }
      }
      return all;
    };
    const std::vector<std::string> without = removed();
    for (const BackupSummary& backup : input_.catalog.backups) {
      if (below(3) == 0) {
        input_.lost[backup.label] = {
            .name = {},
            .reason = "damaged",
            .by = below(2) == 0 ? LostPart::By::kRecord : LostPart::By::kDoubt};
      }
    }
    EXPECT_THAT(without, IsSupersetOf(removed())) << "round " << round;
  }
}

TEST_F(RetentionTest, WalOfAFullThatLacksPacksStaysWithIt) {
  input_.settings = {.full = 3, .diff = 7, .archive = 3};
  HaveFull(1);
  HaveFull(2);
  HaveFull(3);
  HaveWal(5, 40);
  input_.lost[Full(1)].name = PackName(Full(1), 1);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(Reason(Full(1)), HasSubstr(fmt::format("cannot be restored, because object \"{}\" is "
                                                     "missing; stays until 3 newer full backups",
                                                     PackName(Full(1), 1))));
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9")) << "the pack may come back";
}

// Its full was made again, or somebody has put another one in its place.
TEST_F(RetentionTest, ADiffOfAnotherFullDoesNotCount) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(1);
  HaveDiff(1, 2);
  HaveDiff(1, 3);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Diff(1, 2)));
  input_.catalog.backups.back().sources.front().manifest_sha256.fill(1);
  EXPECT_THAT(Removed(), IsEmpty());
}

// Diffs of timelines that forked: the newest good backup refers to an old full.
TEST_F(RetentionTest, TheNewestGoodBackupAndItsFullStay) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveDiff(1, 3);
  HaveFull(4).checksum_failures = 1;
  HaveWal(5, 50);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(Reason(Full(1)), HasSubstr("newest good backup"));
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9", "12-19"));
}

TEST_F(RetentionTest, PinnedStaysWithWhatItNeeds) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(1);
  HaveDiff(1, 2);
  HaveDiff(1, 3);
  HaveFull(4);
  HaveFull(5);
  HaveDiff(5, 6);
  HaveWal(1, 60);
  input_.pins = {Diff(1, 2), "20000101-000000F"};
  EXPECT_THAT(Removed(), UnorderedElementsAre(Diff(1, 3), Full(4)));
  EXPECT_EQ(Reason(Diff(1, 2)), "pinned by veza_backup_keep()");
  EXPECT_EQ(Reason(Full(1)), "pinned backup \"" + Diff(1, 2) + "\" needs it");
  EXPECT_THAT(RemovedWal(), ElementsAre("1-9", "12-19", "22-49"));
}

TEST_F(RetentionTest, WalStaysFromTheFullThatTheSettingSays) {
  input_.settings = {.full = 4, .diff = 7, .archive = 2};
  for (int day = 1; day <= 4; ++day) {
    HaveFull(day);
  }
  HaveDiff(2, 5);
  HaveWal(3, 60);
  EXPECT_THAT(RemovedWal(), ElementsAre("3-9", "12-19", "22-29"));
  EXPECT_THAT(Reason(SegmentName(1, 10, kTestSegmentSize)),
              AllOf(HasSubstr(Full(1)), HasSubstr("consistent")));
  EXPECT_THAT(Reason(SegmentName(1, 30, kTestSegmentSize)),
              AllOf(HasSubstr(Full(3)), HasSubstr("is kept from the start")));
  input_.settings.archive = 10;
  EXPECT_THAT(RemovedWal(), ElementsAre("3-9"));
}

// The timeline of day 3 left that of day 1 before day 2. Day 2 leads nowhere any more, and the WAL
// of both timelines has the same LSNs.
TEST_F(RetentionTest, WalStaysFromTheBackupsThatLeadToThePresent) {
  input_.settings = {.full = 4, .diff = 7, .archive = 2};
  HaveFull(1);
  HaveFull(2);
  BackupSummary& parted = HaveFull(3);
  parted.timeline = 2;
  parted.start_lsn = Lsn{15 * kTestSegmentSize};
  parted.stop_lsn = Lsn{16 * kTestSegmentSize};
  HaveTimelines({{1, TimelineHistory{}, 30, Day(980)},
                 {2, TimelineHistory{2, {{1, Lsn{13 * kTestSegmentSize}}}}, 40, Day(1000)}});
  HaveWal(5, 30);
  HaveWal(13, 40, 2);
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9"));
  input_.settings.archive = 1;
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9", "12-14", "13-14"));
}

TEST_F(RetentionTest, ATimelineWithoutABackupKeepsAllWal) {
  input_.settings = {.full = 4, .diff = 7, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveWal(5, 30);
  EXPECT_THAT(RemovedWal(), SizeIs(2));
  HaveBranch(2, Day(900), Day(1000));
  EXPECT_THAT(RemovedWal(), IsEmpty());
  EXPECT_THAT(Reason(SegmentName(1, 5, kTestSegmentSize)), HasSubstr("on timeline 2 yet"));
  HaveDiff(2, 3).timeline = 2;
  EXPECT_THAT(RemovedWal(), SizeIs(2));
}

// A copy was promoted, archived for an hour, and was thrown away.
TEST_F(RetentionTest, ADeadTimelineKeepsNothing) {
  input_.settings = {.full = 2, .diff = 7, .archive = 1};
  for (int day = 1; day <= 4; ++day) {
    HaveFull(day);
  }
  HaveWal(5, 50);
  HaveBranch(2, Day(1000), Day(990));
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1), Full(2)));
  EXPECT_THAT(RemovedWal(), SizeIs(2));
}

TEST_F(RetentionTest, AbandonedBackupsDisplaceNoneThatLeadToThePresent) {
  input_.settings = {.full = 3, .diff = 1, .archive = 3};
  HaveFull(1);
  HaveFull(2);
  for (int day = 3; day <= 6; ++day) {
    HaveFull(day);  // on the branch that was abandoned
  }
  HaveDiff(6, 7);
  HaveBranch(2, Day(980), Day(1000));
  HaveFull(8).timeline = 2;
  EXPECT_THAT(Removed(), ElementsAre(Full(3))) << "three newer ones on its own branch";
  EXPECT_THAT(Reason(Full(4)), HasSubstr("on an abandoned branch of timeline 1"));
  HaveFull(9).timeline = 2;
  HaveFull(10).timeline = 2;
  input_.pins = {Full(4)};
  EXPECT_THAT(Removed(),
              UnorderedElementsAre(Full(1), Full(2), Full(3), Full(5), Full(6), Diff(6, 7)));
  EXPECT_THAT(Reason(Full(5)), HasSubstr("older than full backup \"" + Full(8) + "\""));
}

// Nobody knows which of two twins will be the one that counts.
TEST_F(RetentionTest, TwoGrowingBranchesAreCountedSeparately) {
  input_.settings = {.full = 2, .diff = 1, .archive = 2};
  HaveFull(1);
  HaveFull(2);
  HaveFull(3);
  HaveBranch(2, Day(999), Day(1000));
  HaveFull(4).timeline = 2;
  HaveFull(5).timeline = 2;
  EXPECT_THAT(Removed(), ElementsAre(Full(1))) << "the line of timeline 1 needs day 2";
  HaveWal(5, 60);
  EXPECT_THAT(RemovedWal(), ElementsAre("5-19"));
  HaveFull(6);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1), Full(2)));
}

// The file may still come or may be lost. So a backup may or may not lead to the timeline.
TEST_F(RetentionTest, WithoutAHistoryFileNothingIsAbandonedOrDisplaced) {
  input_.settings = {.full = 2, .diff = 1, .archive = 1};
  for (int day = 1; day <= 3; ++day) {
    HaveFull(day);
  }
  HaveTimelines({{1, TimelineHistory{}, 9999, Day(900)}, {2, std::nullopt, 9999, Day(1000)}});
  HaveFull(4).timeline = 2;
  EXPECT_THAT(Removed(), IsEmpty());
  HaveFull(5).timeline = 2;
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(1), Full(2), Full(3)));
}

// The backup of day 11 was labelled by a node whose clock was behind.
TEST_F(RetentionTest, ABackupOfANodeWhoseClockIsBehindIsTheNewest) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(10);
  HaveFullLabelled(9, 11);
  EXPECT_THAT(Removed(), IsEmpty()) << "the labels say otherwise, so both stay";
  HaveFull(12);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(10), Full(9)));
}

TEST_F(RetentionTest, ABackupOfANodeWhoseClockIsAheadDisplacesNoLaterOne) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFullLabelled(50, 10);
  HaveFull(11);
  EXPECT_THAT(Removed(), IsEmpty());
  HaveFull(12);
  EXPECT_THAT(Removed(), ElementsAre(Full(11)));
  HaveFullLabelled(51, 13);  // as labels are chosen now
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(50), Full(11), Full(12)));
}

// A snapshot of the storage was put back. WAL positions are used again.
TEST_F(RetentionTest, ABackupTakenAfterTimeWentBackStays) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(20);
  HaveFullLabelled(21, 15);
  EXPECT_THAT(Removed(), IsEmpty());
  HaveFullLabelled(22, 16);
  EXPECT_THAT(Removed(), ElementsAre(Full(21)));
}

TEST_F(RetentionTest, FragmentsAreRemovedWhenNobodyCanStillWriteThem) {
  input_.young_fragments = {.count = 2, .bytes = 20, .first = "backup/.veza-tmp-1", .last = "b"};
  EXPECT_THAT(Removed(RetentionKind::kFragment), IsEmpty());
  EXPECT_THAT(Reason("backup/.veza-tmp-1"), HasSubstr("2 temporary files: interrupted less than"));
  input_.old_fragments = {.count = 1, .bytes = 7, .first = "wal/x", .last = "wal/x"};
  EXPECT_THAT(Removed(RetentionKind::kFragment), ElementsAre("wal/x"));
}

TEST_F(RetentionTest, WithoutTheLockNoWalIsRemovedThatABackupNeeds) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveWal(5, 30);
  EXPECT_THAT(RemovedWal(), ElementsAre("5-19"));
  input_.without_lock = true;
  EXPECT_THAT(RemovedWal(), ElementsAre("5-9", "12-19"));
}

TEST_F(RetentionTest, WithoutAGoodFullAllWalStays) {
  input_.settings.archive = 1;
  HaveWal(1, 50);
  EXPECT_THAT(RemovedWal(), IsEmpty());
  HaveFull(2).checksum_failures = 1;
  EXPECT_THAT(RemovedWal(), IsEmpty());
}

TEST_F(RetentionTest, AnIndexGoesWithTheLastSegmentThatItDescribes) {
  input_.settings = {.full = 1, .diff = 0, .archive = 1};
  HaveFull(1);
  HaveFull(3);
  HaveWal(5, 19);
  HaveWal(24, 40);
  const auto have_index = [this](SegmentNumber first, SegmentNumber last, TimePoint written,
                                 TimelineId timeline = 1) {
    input_.indexes.push_back(
        {IndexObjectName(kTestSystem, SegmentName(timeline, first, kTestSegmentSize),
                         SegmentName(timeline, last, kTestSegmentSize), 1, "0123456789abcdef"),
         10, written});
    return input_.indexes.back().name;
  };
  const TimePoint long_ago = Day(500);
  const std::string old = have_index(5, 9, long_ago);
  const std::string longer = have_index(5, 30, long_ago);
  have_index(7, 8, input_.now - std::chrono::minutes(59));
  const std::string of_gap = have_index(20, 23, long_ago);
  const std::string reaches_over = have_index(24, 29, long_ago);
  have_index(29, 30, long_ago);
  have_index(31, 32, long_ago);
  const std::string behind = have_index(41, 50, long_ago);
  const std::string elsewhere = have_index(35, 36, long_ago, 2);
  input_.indexes.push_back({"walindex/strange", 10, long_ago});
  Plan();
  std::vector<std::string> removed;
  for (const RetentionDecision& decision : decisions_) {
    if (decision.kind == RetentionKind::kIndex) {
      EXPECT_FALSE(decision.keep);
      EXPECT_EQ(decision.bytes, 10 * decision.objects.size());
      EXPECT_EQ(decision.name, decision.objects.front());
      EXPECT_EQ(decision.last, decision.objects.back());
      removed.insert(removed.end(), decision.objects.begin(), decision.objects.end());
    }
  }
  EXPECT_THAT(RemovedWal(), ElementsAre("5-29"));
  EXPECT_THAT(removed, ElementsAre(old, of_gap, reaches_over, behind, elsewhere));
}

TEST_F(RetentionTest, PartialAndBackupFilesAreRemovedWithTheirSegment) {
  input_.settings.archive = 1;
  HaveFull(1);
  HaveFull(2);
  for (const SegmentNumber segment : {5U, 10U, 25U}) {
    const std::string name = SegmentName(1, segment, kTestSegmentSize);
    HaveWalFile(name + ".partial");
    HaveWalFile(name + ".00000028.backup");
  }
  HaveWalFile("00000001.history");
  EXPECT_THAT(RemovedWal(), ElementsAre("5-5"));
  EXPECT_THAT(decisions_, SizeIs(2 + 3));
  EXPECT_EQ(decisions_[2].bytes, 2U);
}

// A newer version may have written these backups, or a passing error may have damaged them.
TEST_F(RetentionTest, AnUnreadableBackupStaysAndKeepsWhatItMayNeed) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  HaveFull(1);
  HaveFull(2);
  HaveFull(3);
  HaveWal(5, 40);
  input_.catalog.broken.push_back({Diff(1, 2), MakeError(ErrorCode::kUnsupported, "format 2")});
  EXPECT_THAT(Removed(), ElementsAre(Full(2)));
  EXPECT_EQ(Reason(Diff(1, 2)), "cannot be read: format 2");
  EXPECT_THAT(Reason(Full(1)), HasSubstr("cannot be read, needs it"));
  EXPECT_THAT(RemovedWal(), IsEmpty());
}

TEST_F(RetentionTest, DiffsOfAnUnreadableFullStayAndOrphansAreRemoved) {
  HaveFull(1);
  HaveDiff(2, 3);
  HaveDiff(4, 5);
  input_.catalog.broken.push_back({Full(2), MakeError(ErrorCode::kDataCorrupted, "damaged")});
  EXPECT_THAT(Removed(), ElementsAre(Diff(4, 5)));
  EXPECT_THAT(Reason(Diff(4, 5)), HasSubstr("is gone"));
}

TEST_F(RetentionTest, OtherSystemsAreNotTouched) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  for (int day = 1; day <= 3; ++day) {
    HaveFull(day).system_identifier = 42;
  }
  HaveFull(4);
  HaveDiff(3, 5);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_EQ(Reason(Full(1)), "belongs to system 42");
}

TEST_F(RetentionTest, LeftOversAreRemovedWhenNobodyCanStillAddToThem) {
  const auto left_over = [this] { return Removed(RetentionKind::kLeftOver); };
  input_.remains[Full(1)] = {.objects = 3, .bytes = 30, .newest = input_.now - kLeftOverAge};
  EXPECT_THAT(left_over(), IsEmpty());
  EXPECT_THAT(Reason(Full(1)), HasSubstr("less than an hour ago"));
  input_.now += std::chrono::seconds(1);
  EXPECT_THAT(left_over(), ElementsAre(Full(1)));
  EXPECT_EQ(decisions_[0].bytes, 30U);
  input_.active_node = "db-b:5432";
  EXPECT_THAT(left_over(), IsEmpty());
  EXPECT_EQ(Reason(Full(1)), "node \"db-b:5432\" is at work");
}

TEST_F(RetentionTest, TombstonesStayForAWeek) {
  input_.remains[Full(1)] = {.buried = input_.now - kTombstoneAge};
  EXPECT_THAT(Removed(RetentionKind::kTombstone), IsEmpty());
  input_.now += std::chrono::seconds(1);
  EXPECT_THAT(Removed(RetentionKind::kTombstone), ElementsAre(Full(1)));
  // What the process of that backup has added after it resumed.
  input_.remains[Full(1)] = {.objects = 1, .bytes = 1, .newest = input_.now, .buried = input_.now};
  EXPECT_THAT(Removed(RetentionKind::kTombstone), IsEmpty());
  EXPECT_THAT(Removed(RetentionKind::kLeftOver), ElementsAre(Full(1)));
}

TEST_F(RetentionTest, RangesDoNotDependOnTheNumberOfSegments) {
  input_.settings.archive = 1;
  HaveFull(1);
  HaveFull(90'000);
  std::uint64_t seen = 0;
  const auto decisions =
      PlanRetention(input_, [&](const Store::ObjectVisitor& each) -> Status {
        ObjectInfo object;
        object.size = 16;
        for (SegmentNumber segment = 0; segment < 1'000'000; segment += 1 + segment % 2) {
          object.name = "x/" + SegmentName(1, segment, kTestSegmentSize);
          RETURN_IF_ERROR(each(object));
          ++seen;
        }
        return Ok();
      }).value();
  EXPECT_THAT(decisions, SizeIs(2 + 4));
  std::uint64_t bytes = 0;
  for (const RetentionDecision& decision : decisions) {
    bytes += decision.kind == RetentionKind::kWal ? *decision.bytes : 0;
  }
  EXPECT_EQ(bytes, seen * 16);
}

TEST_F(RetentionTest, AnErrorOfTheListingIsReturned) {
  EXPECT_ERROR(PlanRetention(input_,
                             [](const Store::ObjectVisitor&) -> Status {
                               return MakeError(ErrorCode::kUnavailable, "the store is away");
                             }),
               ErrorCode::kUnavailable);
}

// --- By time -------------------------------------------------------------------------------------

constexpr std::chrono::hours kDay{24};

TEST_F(RetentionTest, TheWindowKeepsWhatEndedInItAndTheNewestGoodFullBefore) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(70);
  HaveFull(80);
  HaveDiff(80, 84);
  HaveFull(87);
  HaveDiff(87, 88);
  HaveFull(94);
  HaveDiff(94, 95);
  HaveDiff(94, 96);
  HaveWal(0, 1000);
  // The diff of day 84 ended before the window, and the full of day 80 alone opens it.
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(70), Diff(80, 84)));
  EXPECT_EQ(Reason(Full(80)),
            "recovery to the oldest moments of the last 14 d begins with it (retention_window)");
  EXPECT_EQ(Reason(Diff(94, 95)),
            "ended in the last 14 d, give or take an hour (retention_window)");
  EXPECT_THAT(RemovedWal(), ElementsAre("0-799"));
  // A diff does not go with a full that stays.
  input_.settings.diff = 100;
  EXPECT_THAT(Removed(), ElementsAre(Full(70)));
  EXPECT_EQ(Reason(SegmentName(1, 0, kTestSegmentSize)),
            "is older than backup \"" + Full(80) + "\", and no backup needs it (retention_window)");
}

TEST_F(RetentionTest, TheWindowBeginsWithTheEndOfABackupAndClocksMayDiffer) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  HaveFull(80);
  HaveFull(86);
  HaveFull(99);
  // The full of day 86 ended two hours after its begin. A clock may be wrong by an hour.
  input_.now = Day(100) + std::chrono::hours(3);
  EXPECT_THAT(Removed(), IsEmpty());
  input_.now += std::chrono::microseconds(1);
  EXPECT_THAT(Removed(), ElementsAre(Full(80)));
}

TEST_F(RetentionTest, AFullThatIsNotGoodOpensNoWindow) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(60);
  HaveFull(70);
  HaveFull(80).checksum_failures = 1;
  HaveFull(99);
  HaveWal(0, 1000);
  EXPECT_THAT(Removed(), ElementsAre(Full(60)));
  EXPECT_THAT(RemovedWal(), ElementsAre("0-699"));
}

// Where nothing better leads to a moment, a restore begins with them.
TEST_F(RetentionTest, FullsWithWrongChecksumsOpenTheWindowWhereThereAreNoOthers) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(80).checksum_failures = 1;
  HaveFull(92).checksum_failures = 1;
  HaveFull(99);
  HaveWal(0, 1000);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(RemovedWal(), ElementsAre("0-799"));
}

TEST_F(RetentionTest, TheClocksOfNodesDoNotMoveTheWindow) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(300);
  HaveFull(60);
  BackupSummary& ahead = HaveFull(70);
  ahead.start_time += 3650 * kDay;
  ahead.stop_time += 3650 * kDay;
  HaveFull(80).stop_time += 3650 * kDay;  // the clock was set while it was taken
  HaveFull(299);
  HaveWal(0, 3000);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(60), Full(70)));
  EXPECT_THAT(RemovedWal(), ElementsAre("0-799"));
  // Behind: it ended within the window, and opens none.
  input_.now = Day(100);
  input_.catalog.backups.clear();
  HaveFull(80);
  BackupSummary& behind = HaveFull(88);
  behind.start_time -= 3 * kDay;
  behind.stop_time -= 3 * kDay;
  HaveFull(99);
  EXPECT_THAT(Removed(), IsEmpty());
}

// Nobody can shorten the window by what backup.json says of a length.
TEST_F(RetentionTest, AnyDurationMovesTheEndOfABackupByThirtyDaysAtMost) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(70);
  HaveFull(80);
  BackupSummary& full = HaveFull(85);
  HaveFull(99);
  for (const std::uint64_t seconds :
       {std::uint64_t{1} << 45U, std::numeric_limits<std::uint64_t>::max()}) {
    full.duration = seconds;
    EXPECT_THAT(Removed(), ElementsAre(Full(70)));
  }
  full.duration = 60;  // the machine was suspended for two days
  full.stop_time = full.start_time + 2 * kDay;
  EXPECT_THAT(Removed(), ElementsAre(Full(70)));
}

// Somebody restores an old backup in place by mistake, and timeline 2 begins there.
TEST_F(RetentionTest, ALineThatWasAbandonedWithinTheWindowKeepsItsPart) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(108);
  HaveBranch(40, Day(100), Day(108));
  HaveFull(40);
  HaveFull(86);
  HaveFull(93);
  HaveFull(98);
  HaveFull(101).timeline = 2;
  EXPECT_THAT(Removed(), ElementsAre(Full(86)));
  // Later than the window, it has no part any more.
  input_.now = Day(130);
  HaveFull(112).timeline = 2;
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(40), Full(86), Full(93), Full(98), Full(101)));
}

TEST_F(RetentionTest, WhereWalIsKeptSaysWhichSettingWantsIt) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(70);
  HaveFull(80);
  HaveFull(99);
  std::vector<std::pair<std::string, bool>> kept;
  const auto find = [&] {
    kept.clear();
    for (const KeptWal& one : WhereWalIsKept(input_)) {
      kept.emplace_back(one.from.label, one.by_window);
    }
    return kept;
  };
  using Kept = std::vector<std::pair<std::string, bool>>;
  EXPECT_THAT(find(), IsSupersetOf(Kept{{Full(80), true}, {Full(99), false}}));
  EXPECT_EQ(kept.front().first, Full(80));
  input_.lost[Full(80)] = {"pack"};
  find();
  EXPECT_EQ(kept.front().first, Full(70));
}

TEST_F(RetentionTest, WithoutAFullBeforeTheWindowAllOfItStays) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveFull(90);
  HaveFull(95);
  HaveWal(0, 1000);
  EXPECT_THAT(Removed(), IsEmpty());
  EXPECT_THAT(RemovedWal(), ElementsAre("0-899"));
}

TEST_F(RetentionTest, TheNumbersMayKeepMoreThanTheWindow) {
  input_.settings = {.full = 3, .archive = 2, .window = kDay};
  input_.now = Day(100);
  HaveFull(50);
  HaveFull(60);
  HaveFull(70);
  HaveFull(80);
  HaveWal(0, 1000);
  EXPECT_THAT(Removed(), ElementsAre(Full(50)));
  // Segments 600 and 601 make the full of day 60 consistent.
  EXPECT_THAT(RemovedWal(), ElementsAre("0-599", "602-699"));
}

TEST_F(RetentionTest, EachBranchHasAWindowOfItsOwn) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveBranch(82, Day(100), Day(100));
  HaveFull(80);
  HaveFull(84).timeline = 1;
  HaveFull(85).timeline = 2;
  HaveFull(99).timeline = 1;
  HaveFull(98).timeline = 2;
  EXPECT_THAT(Removed(), ElementsAre(Full(80)));
}

TEST_F(RetentionTest, WhatEndedInTheWindowStaysOnAnAbandonedBranch) {
  input_.settings = {.full = 1, .archive = 1, .window = 30 * kDay};
  input_.now = Day(100);
  HaveBranch(82, Day(84), Day(100));
  HaveFull(60);
  HaveFull(83).timeline = 1;
  HaveFull(90).timeline = 2;
  HaveFull(99).timeline = 2;
  EXPECT_THAT(Removed(), IsEmpty());
  input_.settings.window = {};
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(60), Full(83), Full(90)));
}

TEST_F(RetentionTest, ADiffWhoseFullIsGoneIsNotKeptByTheWindow) {
  input_.settings = {.full = 1, .archive = 1, .window = 14 * kDay};
  input_.now = Day(100);
  HaveDiff(90, 95);
  HaveFull(96);
  EXPECT_THAT(Removed(), ElementsAre(Diff(90, 95)));
}

// Day 0 is Sunday, 22 November 2026.
TEST_F(RetentionTest, OneBackupOfEachPeriodStays) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  input_.settings.keep = {{3, KeepPeriod::kDay}, {3, KeepPeriod::kWeek}};
  input_.now = Day(100);
  for (const int week : {70, 77, 84, 91}) {  // Sundays
    HaveFull(week);
    for (int day = week + 1; day < week + 7; ++day) {
      HaveDiff(week, day);
    }
  }
  // Days: the diffs of 95, 96 and 97. Weeks end on Sunday, and a full goes before a diff: the one
  // of Monday to Sunday 98 has diffs only, then the fulls of 91 and 84.
  std::vector<std::string> kept;
  const std::vector<std::string> removed = Removed();
  for (const BackupSummary& backup : input_.catalog.backups) {
    if (std::ranges::find(removed, backup.label) == removed.end()) {
      kept.push_back(backup.label);
    }
  }
  EXPECT_THAT(kept,
              UnorderedElementsAre(Full(84), Full(91), Diff(91, 95), Diff(91, 96), Diff(91, 97)));
  EXPECT_EQ(Reason(Diff(91, 96)), "newest diff backup of 2027-02-26 (3 daily in retention_keep)");
  EXPECT_EQ(Reason(Full(84)),
            "newest full backup of week of 2027-02-08 (3 weekly in retention_keep)");
}

TEST_F(RetentionTest, AFullStandsForAPeriodBeforeANewerDiff) {
  input_.settings = {.full = 1, .diff = 1, .archive = 1};
  input_.settings.keep = {{2, KeepPeriod::kWeek}};
  input_.now = Day(100);
  HaveFull(78);  // a Monday
  HaveDiff(78, 79);
  HaveDiff(78, 80);
  HaveFull(92);
  HaveDiff(92, 93);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Diff(78, 79), Diff(78, 80)));
}

TEST_F(RetentionTest, PeriodsWithoutABackupDoNotCount) {
  input_.settings = {.full = 1, .archive = 1};
  input_.settings.keep = {{3, KeepPeriod::kMonth}};
  input_.now = Day(1000);
  HaveFull(10);
  HaveFull(100);
  HaveFull(101);
  HaveFull(500);
  HaveFull(900);
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(10), Full(100)));
}

TEST_F(RetentionTest, ABackupThatIsNotGoodOrOfTheFutureTakesNoPeriod) {
  input_.settings = {.full = 1, .archive = 1};
  input_.settings.keep = {{1, KeepPeriod::kYear}};
  input_.now = Day(200);
  HaveFull(100);
  HaveFull(110).checksum_failures = 1;
  HaveFull(130);
  HaveFullLabelled(900, 150);
  const std::vector<std::string> removed = Removed();
  // Day 900 is of 2029, which has not come yet.
  EXPECT_THAT(removed, Contains(Full(100)));
  EXPECT_THAT(removed, testing::Not(Contains(Full(130))));
  EXPECT_THAT(removed, testing::Not(Contains(Full(900))));
}

TEST_F(RetentionTest, APeriodOfEachBranchIsItsOwn) {
  input_.settings = {.full = 1, .archive = 1};
  input_.settings.keep = {{2, KeepPeriod::kYear}};
  input_.now = Day(900);
  HaveBranch(82, Day(900), Day(900));
  HaveFull(20);  // 2026, of both
  HaveFull(30);
  HaveFull(84).timeline = 1;  // 2027
  HaveFull(85).timeline = 2;
  HaveFull(800).timeline = 1;
  HaveFull(801).timeline = 2;
  EXPECT_THAT(Removed(), UnorderedElementsAre(Full(20), Full(30)));
}

// What any history must fulfil: rules by time only ever keep more, and each moment of the window
// that some good full leads to can be restored afterwards.
class RandomTimes : public RetentionTest, public testing::WithParamInterface<int> {
 protected:
  void HaveRandomHistory() {
    std::mt19937 random(static_cast<unsigned>(GetParam()));
    const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
    int full = -1;
    for (int day = 0; day < 100; ++day) {
      if (full < 0 || below(8) == 0) {
        BackupSummary& backup = HaveFull(full = day);
        backup.checksum_failures = below(5) == 0 ? 1U : 0U;
        backup.stop_time += std::chrono::hours(below(30));
      } else if (below(2) == 0) {
        HaveDiff(full, day).checksum_failures = below(8) == 0 ? 1U : 0U;
      }
    }
    HaveWal(0, 1000);
    input_.now = Day(100 + below(40));
    input_.settings = {.full = 1 + below(3), .diff = 1 + below(5), .archive = 1 + below(3)};
    window_ = std::chrono::hours(1 + below(24 * 60));
    keep_ = {{1 + below(9), KeepPeriod::kDay}, {1 + below(5), KeepPeriod::kWeek}};
  }
  std::chrono::seconds window_{};
  std::vector<KeepRule> keep_;
};

TEST_P(RandomTimes, KeepMoreAndEveryMomentOfTheWindow) {
  HaveRandomHistory();
  const std::vector<std::string> without = Removed();
  input_.settings.window = window_;
  input_.settings.keep = keep_;
  const std::vector<std::string> removed = Removed();
  EXPECT_THAT(without, IsSupersetOf(removed));
  const auto is_kept = [&](const BackupSummary& backup) {
    return std::ranges::find(removed, backup.label) == removed.end();
  };
  std::vector<std::pair<SegmentNumber, SegmentNumber>> gone;
  for (const RetentionDecision& decision : decisions_) {
    if (decision.kind == RetentionKind::kWal && !decision.keep) {
      gone.emplace_back(SegmentNumberOf(decision.name, kTestSegmentSize),
                        SegmentNumberOf(decision.last, kTestSegmentSize));
    }
  }
  const auto leads_on = [&](const BackupSummary& full) {
    const SegmentNumber first = SegmentOf(full.start_lsn, kTestSegmentSize);
    return std::ranges::all_of(gone, [&](const auto& range) { return range.second < first; });
  };
  for (TimePoint moment = input_.now - window_; moment <= input_.now;
       moment += std::chrono::minutes(30)) {
    bool could = false;
    bool can = false;
    for (const BackupSummary& backup : input_.catalog.backups) {
      if (backup.type == BackupType::kFull && backup.checksum_failures == 0 &&
          backup.stop_time <= moment) {
        could = true;
        can = can || (is_kept(backup) && leads_on(backup));
      }
    }
    ASSERT_EQ(can, could) << FormatUtc(moment);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTimes, testing::Range(1, 41));

}  // namespace
}  // namespace veza
