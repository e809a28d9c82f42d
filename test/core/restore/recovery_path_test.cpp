#include "core/restore/recovery_path.h"

#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

constexpr Lsn LsnIn(SegmentNumber segment, std::uint64_t offset = 0) {
  return Lsn{segment * kTestSegmentSize + offset};
}

std::string Name(TimelineId timeline, SegmentNumber segment) {
  return SegmentName(timeline, segment, kTestSegmentSize);
}

TEST(RecoveryPath, FollowsTheNewestHistoryFile) {
  const TemporaryDirectory data;
  const TemporaryDirectory pg_wal;
  const auto followed = [&] { return FollowedHistory(data.path(), pg_wal.path()); };
  EXPECT_FALSE(followed().value());
  EXPECT_FALSE(FollowedHistory(data.path(), pg_wal.path() + "/none"));
  WriteText(pg_wal.path() + "/00000002.history", "1\t0/500000\tx\n");
  WriteText(pg_wal.path() + "/00000003.history", "1\t0/500000\tx\n2\t0/700000\tx\n");
  WriteText(pg_wal.path() + "/00000003.history.old", "");
  const auto path = followed().value();
  ASSERT_TRUE(path);
  EXPECT_EQ(path->timeline, 3U);
  EXPECT_EQ(ForkOf(*path, 1), (TimelineSwitch{2, Lsn{0x500000}}));
  EXPECT_EQ(ForkOf(*path, 2), (TimelineSwitch{3, Lsn{0x700000}}));
  EXPECT_FALSE(ForkOf(*path, 3));
  EXPECT_FALSE(ForkOf(*path, 4));
  // An unreadable file does not count as one without forks.
  WriteText(pg_wal.path() + "/00000004.history", "");
  EXPECT_ERROR(followed(), ErrorCode::kDataCorrupted);
  std::filesystem::remove(pg_wal.path() + "/00000004.history");
  std::filesystem::create_directory(pg_wal.path() + "/00000004.history");
  EXPECT_ERROR(followed(), ErrorCode::kIo);
}

// An earlier recovery has left a newer history file.
TEST(RecoveryPath, FollowsTheTimelineInTheSettings) {
  const TemporaryDirectory data;
  const TemporaryDirectory pg_wal;
  WriteText(pg_wal.path() + "/00000002.history", "1\t0/500000\tx\n");
  WriteText(pg_wal.path() + "/00000003.history", "1\t0/500000\tx\n2\t0/700000\tx\n");
  const auto timeline = [&](const std::string& value) {
    WriteText(data.path() + "/postgresql.auto.conf",
              "recovery_target_timeline = '9'\nRecovery_Target_Timeline = '" + value + "'\n");
    return FollowedHistory(data.path(), pg_wal.path()).value()->timeline;
  };
  EXPECT_EQ(timeline("latest"), 3U);
  EXPECT_EQ(timeline("2"), 2U);
  EXPECT_EQ(timeline("1"), 1U);
  WriteText(data.path() + "/postgresql.auto.conf", "recovery_target_timeline = '9'\n");
  EXPECT_FALSE(FollowedHistory(data.path(), pg_wal.path())) << "nobody knows its forks";
}

TEST(RecoveryPath, ReadsANumberedTimelineFromTheSettings) {
  const TemporaryDirectory data;
  EXPECT_FALSE(NumberedTimeline(data.path()).value());
  for (const char* value : {"latest", "current", "nonsense"}) {
    WriteText(data.path() + "/postgresql.auto.conf",
              fmt::format("recovery_target_timeline = '{}'\n", value));
    EXPECT_FALSE(NumberedTimeline(data.path()).value()) << value;
  }
  WriteText(data.path() + "/postgresql.auto.conf", "recovery_target_timeline = '9'\n");
  EXPECT_EQ(NumberedTimeline(data.path()).value(), 9U);
}

// A standby keeps the histories of timelines that it does not follow. Its requests tell its path.
TEST(RecoveryPath, AStandbyFollowsTheNewestTimelineThatItHasAskedFor) {
  const TemporaryDirectory pg_wal;
  WriteText(pg_wal.path() + "/00000002.history", "1\t0/500000\tx\n");
  WriteText(pg_wal.path() + "/00000003.history", "1\t0/300000\tx\n");
  const auto path = [&](const std::string& recovery, TimelineId timeline) {
    return HistoryOfStandby(pg_wal.path(), recovery, timeline).value();
  };
  EXPECT_FALSE(path("this", 1)) << "it has asked for nothing else";
  ASSERT_TRUE(NoteAbsent(pg_wal.path(), "this", 2));
  ASSERT_TRUE(path("this", 1));
  EXPECT_EQ(path("this", 1)->timeline, 2U) << "not the newest";
  EXPECT_FALSE(path("this", 2));
  EXPECT_FALSE(path("another", 1)) << "not of an earlier recovery";
  ASSERT_TRUE(NoteAbsent(pg_wal.path(), "this", 1));
  EXPECT_TRUE(path("this", 1)) << "an older one that is not there either changes nothing";
  ASSERT_TRUE(NoteAbsent(pg_wal.path(), "another", 1));
  EXPECT_FALSE(path("this", 1));
  ASSERT_TRUE(NoteAbsent(pg_wal.path(), "this", 4));
  EXPECT_FALSE(HistoryOfStandby(pg_wal.path(), "this", 1)) << "where it forked is nothing to guess";
  EXPECT_FALSE(NoteAbsent(pg_wal.path() + "/none", "this", 1)) << "no note, no answer";
}

TEST(RecoveryPath, ASegmentIsCutWhereItsTimelineWasLeft) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/RECOVERYXLOG";
  const auto have = [&] { WriteText(path, std::string(kTestSegmentSize, 'x')); };
  have();
  EXPECT_TRUE(CutAtFork(Name(1, 5), LsnIn(6), path).value());
  EXPECT_EQ(ReadText(path), std::string(kTestSegmentSize, 'x'));
  EXPECT_TRUE(CutAtFork(Name(1, 5), LsnIn(5, 100), path).value());
  EXPECT_EQ(ReadText(path), std::string(100, 'x') + std::string(kTestSegmentSize - 100, '\0'));
  have();
  EXPECT_FALSE(CutAtFork(Name(1, 5), LsnIn(5), path).value());
  EXPECT_FALSE(std::filesystem::exists(path)) << "nothing is left of it";
  have();
  EXPECT_FALSE(CutAtFork(Name(1, 5), LsnIn(4, 100), path).value());
  EXPECT_FALSE(CutAtFork(Name(1, 5), LsnIn(5, 100), path)) << "there is no such file";
}

TEST(RecoveryPath, FindsTheSegmentAfterAMissingOne) {
  const TestRepository repository;
  const auto behind = [&](const TimelineHistory* path, TimelineId timeline, SegmentNumber segment) {
    const auto found =
        FirstBehind(repository.wal(), path, Name(timeline, segment), kTestSegmentSize);
    EXPECT_OK(found);
    return found->value_or("");
  };
  EXPECT_EQ(behind(nullptr, 1, 5), "") << "the end of an empty archive";
  repository.PushSegment(1, 4);
  EXPECT_EQ(behind(nullptr, 1, 5), "") << "the end";
  repository.PushSegment(1, 9);
  EXPECT_EQ(behind(nullptr, 1, 5), Name(1, 9));
  EXPECT_EQ(behind(nullptr, 2, 5), "") << "of another timeline nothing is known";

  // Timeline 1 was left in segment 7, so its segment 9 is not on the path to timeline 2.
  const TimelineHistory path{2, {{1, LsnIn(7, 100)}}};
  EXPECT_EQ(behind(&path, 1, 7), "") << "the new timeline's segment of the fork is not full yet";
  EXPECT_EQ(behind(&path, 2, 7), "");
  EXPECT_EQ(behind(&path, 3, 5), "");
  repository.PushSegment(2, 8);
  EXPECT_EQ(behind(&path, 1, 5), Name(2, 8));
  EXPECT_EQ(behind(&path, 2, 7), Name(2, 8)) << "the first of the new timeline";
  EXPECT_EQ(behind(&path, 2, 8), "");
  repository.PushSegment(1, 6);
  EXPECT_EQ(behind(&path, 1, 5), Name(1, 6));
}

// Nothing later is in the archive but the history file: the WAL up to the fork was there all the
// same when the new timeline was begun.
TEST(RecoveryPath, ATimelineShowsThatThereWasWalUpToItsFork) {
  const TestRepository repository;
  const auto behind = [&](const TimelineHistory& path, TimelineId timeline, SegmentNumber segment) {
    return FirstBehind(repository.wal(), &path, Name(timeline, segment), kTestSegmentSize)
        .value()
        .value_or("");
  };
  const TimelineHistory path{2, {{1, LsnIn(7, 100)}}};
  EXPECT_EQ(behind(path, 1, 5), "00000002.history");
  EXPECT_EQ(behind(path, 1, 6), "00000002.history");
  EXPECT_EQ(behind(path, 1, 7), "");
  EXPECT_EQ(behind(path, 1, 8), "");

  const TimelineHistory at_the_end_of_a_segment{2, {{1, LsnIn(7)}}};
  EXPECT_EQ(behind(at_the_end_of_a_segment, 1, 6), "00000002.history");
  EXPECT_EQ(behind(at_the_end_of_a_segment, 1, 7), "");

  const TimelineHistory longer{3, {{1, LsnIn(7, 100)}, {2, LsnIn(9, 100)}}};
  EXPECT_EQ(behind(longer, 1, 7), "00000003.history") << "timeline 2 has gone on";
  EXPECT_EQ(behind(longer, 2, 8), "00000003.history");
  EXPECT_EQ(behind(longer, 2, 9), "");
  EXPECT_EQ(behind(longer, 3, 9), "");
}

}  // namespace
}  // namespace veza
