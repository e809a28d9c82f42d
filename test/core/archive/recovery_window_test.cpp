#include "core/archive/recovery_window.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/repository/archive_of.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kSize = kTestSegmentSize;

// A backup that starts and stops in the middle of these segments. `day` makes its label.
struct MadeUpBackup {
  int day = 0;
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  int full_day = 0;  // of a diff: the day of its full
};

std::string LabelOf(const MadeUpBackup& backup) {
  const TimePoint start = kTestTime + std::chrono::hours(24 * backup.day);
  return backup.full_day == 0 ? FullLabel(start)
                              : DiffLabel(LabelOf({.day = backup.full_day}), start);
}

BackupSummary SummaryOf(const MadeUpBackup& backup) {
  static const TestRepository repository;
  BackupSummary summary = TestSummary(*repository, LabelOf(backup));
  summary.sources.clear();
  if (summary.type == BackupType::kDiff) {
    summary.sources = {{summary.full_label(), summary.manifest_sha256}};
  }
  summary.timeline = backup.timeline;
  summary.start_lsn = Lsn{backup.first * kSize + 0x28};
  summary.stop_lsn = Lsn{backup.last * kSize + 0x100};
  summary.start_time = kTestTime + std::chrono::hours(24 * backup.day);
  summary.stop_time = summary.start_time + std::chrono::minutes(1);
  return summary;
}

std::vector<BackupSummary> SummariesOf(const std::vector<MadeUpBackup>& backups) {
  std::vector<BackupSummary> summaries;
  for (const MadeUpBackup& backup : backups) {
    summaries.push_back(SummaryOf(backup));
  }
  return summaries;
}

int DayOf(const std::string& label) {
  for (int day = 1; day < 20; ++day) {
    const std::string time = FullLabel(kTestTime + std::chrono::hours(24 * day));
    if (label.ends_with(time.substr(0, 15) + "F") || label.ends_with(time.substr(0, 15) + "D")) {
      return day;
    }
  }
  return 0;
}

// Describes a stretch as "days 1-2, 2 backups, timelines 1-1, 0/300100-0/700000, end of the
// archive", and a backup that cannot be restored as "not 3: missing segment …".
std::vector<std::string> Describe(const RecoveryWindow& window) {
  std::vector<std::string> texts;
  for (const RecoveryStretch& stretch : window.stretches) {
    texts.push_back(fmt::format("days {}-{}, {} backups, timelines {}-{}, {}-{}, {}",
                                DayOf(stretch.oldest_backup), DayOf(stretch.newest_backup),
                                stretch.backups, stretch.first_timeline, stretch.last_timeline,
                                FormatLsn(stretch.start_lsn), FormatLsn(stretch.end_lsn),
                                stretch.EndedBy()));
  }
  for (const UnrestorableBackup& backup : window.unrestorable) {
    texts.push_back(fmt::format("not {}: {}", DayOf(backup.label), backup.reason));
  }
  return texts;
}

struct WindowCase {
  const char* name;
  std::vector<MadeUpBackup> backups;
  std::vector<MadeUpRun> runs;
  MadeUpHistories histories;
  std::vector<std::string> window;
};

void Expect(std::span<const WindowCase> cases) {
  for (const WindowCase& one : cases) {
    const RecoveryWindow window =
        PlanRecoveryWindow(SummariesOf(one.backups), ArchiveOf(one.runs, one.histories), {});
    EXPECT_EQ(Describe(window), one.window) << one.name;
  }
}

TEST(RecoveryWindow, OnOneTimeline) {
  const WindowCase cases[] = {
      {"nothing", {}, {}, {}, {}},
      {"no backups", {}, {{1, 1, 9}}, {}, {}},
      {"no WAL", {{1, 1, 3, 4}}, {}, {}, {"not 1: missing segment 000000010000000000000003"}},
      {"just the backup's own",
       {{1, 1, 3, 4}},
       {{1, 3, 4}},
       {},
       {"days 1-1, 1 backups, timelines 1-1, 0/400100-0/500000, end of the archive"}},
      {"two backups, one stretch",
       {{1, 1, 3, 4}, {2, 1, 6, 6}},
       {{1, 1, 9}},
       {},
       {"days 1-2, 2 backups, timelines 1-1, 0/400100-0/A00000, end of the archive"}},
      {"a gap in the middle",
       {{1, 1, 3, 4}, {2, 1, 8, 8}},
       {{1, 1, 5}, {1, 7, 9}},
       {},
       {"days 1-1, 1 backups, timelines 1-1, 0/400100-0/600000, "
        "missing segment 000000010000000000000006",
        "days 2-2, 1 backups, timelines 1-1, 0/800100-0/A00000, end of the archive"}},
      {"a gap right before a backup, and a second one",
       {{1, 1, 3, 4}, {2, 1, 4, 5}, {3, 1, 7, 7}, {4, 1, 9, 9}},
       {{1, 3, 5}, {1, 7, 7}, {1, 9, 12}},
       {},
       {"days 1-2, 2 backups, timelines 1-1, 0/400100-0/600000, "
        "missing segment 000000010000000000000006",
        "days 3-3, 1 backups, timelines 1-1, 0/700100-0/800000, "
        "missing segment 000000010000000000000008",
        "days 4-4, 1 backups, timelines 1-1, 0/900100-0/D00000, end of the archive"}},
      {"a gap inside a backup",
       {{1, 1, 1, 1}, {2, 1, 3, 6}, {3, 1, 7, 7}},
       {{1, 1, 3}, {1, 5, 9}},
       {},
       {"days 1-1, 1 backups, timelines 1-1, 0/100100-0/400000, "
        "missing segment 000000010000000000000004",
        "days 3-3, 1 backups, timelines 1-1, 0/700100-0/A00000, end of the archive",
        "not 2: missing segment 000000010000000000000004"}},
      {"the last segment of a backup",
       {{1, 1, 3, 4}},
       {{1, 3, 3}, {1, 5, 9}},
       {},
       {"not 1: missing segment 000000010000000000000004"}},
  };
  Expect(cases);
}

TEST(RecoveryWindow, OverASwitchOfTimelines) {
  const MadeUpHistories middle = {{2, "1\t0/580000\tx\n"}};
  const MadeUpHistories boundary = {{2, "1\t0/500000\tx\n"}};
  const std::string whole =
      "days 1-2, 2 backups, timelines 1-2, 0/200100-0/900000, end of the archive";
  const WindowCase cases[] = {
      {"in the middle of a segment, which the old timeline lacks",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 4}, {2, 5, 8}},
       middle,
       {whole}},
      {"which it has, and more",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 9}, {2, 5, 8}},
       middle,
       {whole}},
      {"at a boundary", {{1, 1, 2, 2}, {2, 2, 7, 7}}, {{1, 1, 4}, {2, 5, 8}}, boundary, {whole}},
      {"at a boundary, the old one went on",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 9}, {2, 5, 8}},
       boundary,
       {whole}},
      {"the new one's first segment is missing: to the switch",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 9}, {2, 6, 8}},
       middle,
       {"days 1-1, 1 backups, timelines 1-1, 0/200100-0/580000, "
        "missing segment 000000020000000000000005",
        "days 2-2, 1 backups, timelines 2-2, 0/700100-0/900000, end of the archive"}},
      {"the same at a boundary",
       {{1, 1, 2, 2}},
       {{1, 1, 9}, {2, 6, 8}},
       boundary,
       {"days 1-1, 1 backups, timelines 1-1, 0/200100-0/500000, "
        "missing segment 000000020000000000000005"}},
      {"the old one's end is missing",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 3}, {2, 5, 8}},
       middle,
       {"days 1-1, 1 backups, timelines 1-1, 0/200100-0/400000, "
        "missing segment 000000010000000000000004",
        "days 2-2, 1 backups, timelines 2-2, 0/700100-0/900000, end of the archive"}},
      {"the new one is yet to come",
       {{1, 1, 2, 2}},
       {{1, 1, 4}},
       middle,
       {"days 1-1, 1 backups, timelines 1-1, 0/200100-0/500000, end of the archive"}},
      {"the backup stops in the segment of the switch",
       {{1, 1, 4, 5}},
       {{1, 1, 5}, {2, 5, 8}},
       middle,
       {"days 1-1, 1 backups, timelines 1-2, 0/500100-0/900000, end of the archive"}},
      {"through a timeline within one segment",
       {{1, 1, 2, 2}},
       {{1, 1, 4}, {3, 5, 8}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/590000\tx\n"}},
       {"days 1-1, 1 backups, timelines 1-3, 0/200100-0/900000, end of the archive"}},
      {"whose segment alone is there",
       {{1, 1, 2, 2}},
       {{1, 1, 4}, {2, 5, 5}, {3, 6, 8}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/590000\tx\n"}},
       {"days 1-1, 1 backups, timelines 1-2, 0/200100-0/590000, "
        "missing segment 000000030000000000000005"}},
      {"over three timelines",
       {{1, 1, 2, 2}, {2, 2, 6, 6}, {3, 3, 12, 12}},
       {{1, 1, 4}, {2, 5, 9}, {3, 10, 12}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/A80000\tx\n"}},
       {"days 1-3, 3 backups, timelines 1-3, 0/200100-0/D00000, end of the archive"}},
      {"no history file",
       {{1, 1, 2, 2}, {2, 2, 7, 7}},
       {{1, 1, 4}, {2, 5, 8}},
       {},
       {"days 1-1, 1 backups, timelines 1-1, 0/200100-0/500000, end of the archive",
        "days 2-2, 1 backups, timelines 2-2, 0/700100-0/900000, end of the archive"}},
  };
  Expect(cases);
}

TEST(RecoveryWindow, BesideTheNewestTimeline) {
  const WindowCase cases[] = {
      {"a backup after the switch goes to the end of its own",
       {{1, 1, 2, 2}, {2, 1, 7, 7}, {3, 2, 6, 6}},
       {{1, 1, 9}, {2, 5, 8}},
       {{2, "1\t0/580000\tx\n"}},
       {"days 1-3, 2 backups, timelines 1-2, 0/200100-0/900000, end of the archive",
        "days 2-2, 1 backups, timelines 1-1, 0/700100-0/A00000, end of the archive"}},
      {"an orphan between two",
       {{1, 1, 2, 2}, {2, 2, 6, 6}, {3, 3, 7, 7}},
       {{1, 1, 4}, {2, 5, 8}, {3, 5, 12}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/590000\tx\n"}},
       {"days 1-3, 2 backups, timelines 1-3, 0/200100-0/D00000, end of the archive",
        "days 2-2, 1 backups, timelines 2-2, 0/600100-0/900000, end of the archive"}},
      {"an orphan that another timeline leads on from",
       {{1, 2, 6, 6}},
       {{1, 1, 4}, {2, 5, 8}, {3, 9, 12}, {4, 5, 20}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/980000\tx\n"}, {4, "1\t0/590000\tx\n"}},
       {"days 1-1, 1 backups, timelines 2-3, 0/600100-0/D00000, end of the archive"}},
  };
  Expect(cases);
}

TEST(RecoveryWindow, DiffsNeedTheirFull) {
  const WindowCase cases[] = {
      {"full and diff",
       {{1, 1, 3, 3}, {2, 1, 5, 5, 1}},
       {{1, 1, 6}},
       {},
       {"days 1-2, 2 backups, timelines 1-1, 0/300100-0/700000, end of the archive"}},
      {"a diff does not need its full's WAL",
       {{1, 1, 3, 3}, {2, 1, 5, 5, 1}},
       {{1, 5, 6}},
       {},
       {"days 2-2, 1 backups, timelines 1-1, 0/500100-0/700000, end of the archive",
        "not 1: missing segment 000000010000000000000003"}},
      {"but the full",
       {{2, 1, 5, 5, 1}},
       {{1, 1, 6}},
       {},
       {"not 2: diff \"20261123-020000F_20261124-020000D\" needs full backup "
        "\"20261123-020000F\", which is missing or damaged"}},
  };
  Expect(cases);

  std::vector<BackupSummary> backups = SummariesOf({{1, 1, 3, 3}, {2, 1, 5, 5, 1}});
  backups[0].manifest_sha256 = Sha256Of(AsBytes("another one"));
  EXPECT_THAT(Describe(PlanRecoveryWindow(backups, ArchiveOf({{1, 1, 6}}), {})),
              ElementsAre(testing::StartsWith("days 1-1"),
                          "not 2: diff \"20261123-020000F_20261124-020000D\" needs full backup "
                          "\"20261123-020000F\", and another one is in its place"));
}

TEST(RecoveryWindow, TellsTimes) {
  const std::vector<BackupSummary> backups = SummariesOf({{2, 1, 5, 5}, {1, 1, 3, 3}});
  const RecoveryWindow window = PlanRecoveryWindow(backups, ArchiveOf({{1, 1, 6}}), {});
  ASSERT_EQ(window.stretches.size(), 1U);
  EXPECT_EQ(window.stretches[0].start_time, backups[1].stop_time);
  EXPECT_EQ(window.stretches[0].end_time, StoredAt(6));
  EXPECT_EQ(window.stretches[0].last_segment, "000000010000000000000006");
}

// --- A repository --------------------------------------------------------------------------------

class ReadRecoveryWindowTest : public testing::Test {
 protected:
  // When the store received the segment: behind most backups.
  static TimePoint Stored(SegmentNumber number) {
    return StoredAt(number) + std::chrono::hours(24 * 100);
  }
  void HaveSegments(TimelineId timeline, SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      repository_.PushSegment(timeline, number);
      const timespec time{Stored(number).time_since_epoch() / std::chrono::seconds(1), 0};
      const timespec times[2] = {time, time};
      ASSERT_EQ(utimensat(AT_FDCWD, PathOf(timeline, number).c_str(), times, 0), 0);
    }
  }
  std::string PathOf(TimelineId timeline, SegmentNumber number) {
    return repository_.PathOf(
        WalObjectName(kTestSystem, SegmentName(timeline, number, kSize)).value());
  }
  void HaveBackup(const MadeUpBackup& backup, std::uint64_t system_identifier = kTestSystem,
                  std::uint32_t packs = 0) {
    BackupSummary summary = SummaryOf(backup);
    summary.packs = packs;
    for (std::uint32_t number = 1; number <= packs; ++number) {
      WriteText(repository_.PathOf(PackName(summary.label, number)), "a pack");
    }
    WriteText(repository_.PathOf(ManifestName(summary.label)), "a manifest");
    summary.manifest_size = 10;
    summary.system_identifier = system_identifier;
    WriteText(repository_.PathOf(BackupDocumentName(summary.label)),
              SerializeSummary(summary, repository_->seal_policy()).value());
  }
  Result<RecoveryWindow> Read(std::uint64_t system_identifier = kTestSystem) {
    const WalArchive wal(*repository_, system_identifier);
    ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, wal.Ranges(kSize));
    ASSIGN_OR_RETURN(const ArchiveMap archive,
                     ReadArchiveMap(*repository_, TestIdentity(system_identifier), ranges));
    ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*repository_));
    return ReadOf(catalog, archive, system_identifier);
  }

  Result<RecoveryWindow> ReadOf(const BackupCatalog& catalog, const ArchiveMap& archive,
                                std::uint64_t system_identifier = kTestSystem) {
    ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(*repository_, catalog.backups));
    return ReadRecoveryWindow(*repository_, system_identifier, catalog, archive, lost);
  }

  TestRepository repository_;
};

TEST_F(ReadRecoveryWindowTest, FollowsWhatTheRepositoryHolds) {
  EXPECT_THAT(Describe(Read().value()), IsEmpty());
  HaveBackup({1, 1, 2, 2});
  HaveBackup({2, 2, 6, 6});
  HaveBackup({3, 1, 2, 2}, 42);
  HaveSegments(1, 1, 9);
  HaveSegments(2, 5, 8);
  EXPECT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/580000\treason\n")));
  EXPECT_THAT(
      Describe(Read().value()),
      ElementsAre("days 1-2, 2 backups, timelines 1-2, 0/200100-0/900000, end of the archive"));
  EXPECT_EQ(Read()->stretches[0].end_time, Stored(8));
  EXPECT_THAT(Describe(Read(42).value()),
              ElementsAre("not 3: missing segment 000000010000000000000002"));

  // The old timeline has more WAL after the switch, and it was stored later. That does not count.
  std::filesystem::remove(PathOf(2, 5));
  const auto window = Read();
  ASSERT_OK(window);
  ASSERT_EQ(window->stretches.size(), 2U);
  EXPECT_EQ(window->stretches[0].end_lsn, Lsn{0x580000});
  EXPECT_EQ(window->stretches[0].end_time, Stored(5));
  EXPECT_EQ(window->stretches[0].missing_segment, "000000020000000000000005");
}

// The store's clock is behind the server's.
TEST_F(ReadRecoveryWindowTest, NeverEndsBeforeItBegins) {
  HaveSegments(1, 1, 3);
  HaveBackup({300, 1, 2, 2});
  const RecoveryStretch stretch = Read()->stretches.at(0);
  EXPECT_GT(stretch.start_time, Stored(3));
  EXPECT_EQ(stretch.end_time, stretch.start_time);
}

TEST_F(ReadRecoveryWindowTest, NamesPacksThatAreMissing) {
  HaveSegments(1, 1, 9);
  HaveBackup({1, 1, 2, 2}, kTestSystem, 2);
  HaveBackup({2, 1, 3, 3, 1}, kTestSystem, 1);
  HaveBackup({3, 1, 4, 4});
  EXPECT_THAT(Describe(Read().value()),
              ElementsAre("days 1-3, 3 backups, timelines 1-1, 0/200100-0/A00000, end of the "
                          "archive"));

  const std::string full = LabelOf({.day = 1});
  WriteText(repository_.PathOf(PackName(full, 2)), "");
  const std::string named = fmt::format("\"{}\"", PackName(full, 2));
  EXPECT_THAT(Describe(Read().value()),
              ElementsAre("days 3-3, 1 backups, timelines 1-1, 0/400100-0/A00000, end of the "
                          "archive",
                          "not 1: object " + named + " is missing",
                          "not 2: full backup \"" + full + "\" lacks object " + named));

  std::filesystem::remove(repository_.PathOf(PackName(full, 1)));
  EXPECT_THAT(Read()->unrestorable.front().reason, testing::HasSubstr(PackName(full, 1)));
}

TEST_F(ReadRecoveryWindowTest, NamesAManifestThatIsMissingOrCut) {
  HaveSegments(1, 1, 9);
  HaveBackup({1, 1, 2, 2});
  HaveBackup({2, 1, 3, 3});
  const std::string first = ManifestName(LabelOf({.day = 1}));
  const std::string second = ManifestName(LabelOf({.day = 2}));
  std::filesystem::remove(repository_.PathOf(first));
  WriteText(repository_.PathOf(second), "cut");
  EXPECT_THAT(Describe(Read().value()),
              ElementsAre("not 1: object \"" + first + "\" is missing",
                          "not 2: object \"" + second + "\" has 3 bytes instead of 10"));
}

// Somebody has moved a pack to another disk, and left a symbolic link.
TEST_F(ReadRecoveryWindowTest, ADirectoryThatCannotBeListedIsOfOneBackup) {
  HaveSegments(1, 1, 9);
  HaveBackup({1, 1, 2, 2}, kTestSystem, 1);
  HaveBackup({2, 1, 3, 3, 1}, kTestSystem, 1);
  HaveBackup({3, 1, 4, 4}, kTestSystem, 1);
  const std::string full = LabelOf({.day = 1});
  std::filesystem::create_symlink("/nonexistent", repository_.PathOf(PackName(full, 2)));
  const std::vector<std::string> said = Describe(Read().value());
  ASSERT_EQ(said.size(), 3U);
  EXPECT_THAT(said[0], testing::HasSubstr("days 3-3, 1 backups"));
  EXPECT_THAT(said[1], testing::HasSubstr("not 1: "));
  EXPECT_THAT(said[1], testing::HasSubstr("symbolic link"));
  EXPECT_THAT(said[2], testing::HasSubstr("not 2: full backup \"" + full + "\": "));
}

// While somebody reads the window, retention deletes a backup and then its WAL.
TEST_F(ReadRecoveryWindowTest, LeavesOutWhatIsDeletedMeanwhile) {
  HaveBackup({1, 1, 2, 2});
  HaveBackup({2, 1, 4, 4});
  const auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(LabelOf(MadeUpBackup{.day = 1}))));
  EXPECT_THAT(Describe(ReadOf(*catalog, ArchiveOf({})).value()),
              ElementsAre("not 2: missing segment 000000010000000000000004"));
}

// As veza_backup_info() tells them.
TEST_F(ReadRecoveryWindowTest, ABackupThatIsRemovedMeanwhileIsNotOneThatCannotBeRestored) {
  for (const int day : {1, 2, 3}) {
    HaveBackup({day, 1, 2, 2}, kTestSystem, 1);
  }
  const auto label = [](int day) { return LabelOf(MadeUpBackup{.day = day}); };
  auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(label(1))));
  std::filesystem::remove(repository_.PathOf(PackName(label(1), 1)));
  std::filesystem::remove(repository_.PathOf(PackName(label(2), 1)));
  const auto reasons = FindUnrestorable(*repository_, &*catalog);
  ASSERT_OK(reasons);
  EXPECT_THAT(*reasons, ElementsAre(testing::Pair(
                            label(2), "object \"" + PackName(label(2), 1) + "\" is missing")));
  EXPECT_THAT(catalog->backups, ElementsAre(testing::Field(&BackupSummary::label, label(2)),
                                            testing::Field(&BackupSummary::label, label(3))));
}

}  // namespace
}  // namespace veza
