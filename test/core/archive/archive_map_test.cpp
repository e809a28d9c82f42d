#include "core/archive/archive_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/archive_of.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Describes the pieces as "2: 5-9" and "2: gap 10-12".
std::vector<std::string> PiecesOf(const ArchiveMap& archive) {
  std::vector<std::string> texts;
  for (const ArchivePiece& piece : archive.Pieces()) {
    texts.push_back(fmt::format("{}: {}{}-{}", piece.timeline, piece.is_gap ? "gap " : "",
                                piece.first, piece.last));
  }
  return texts;
}

TEST(ArchiveMap, FindsSegments) {
  const ArchiveMap archive = ArchiveOf({{1, 3, 5}, {1, 8, 8}, {2, 1, 1}});
  EXPECT_EQ(archive.RunAt(1, 2), nullptr);
  ASSERT_NE(archive.RunAt(1, 3), nullptr);
  EXPECT_EQ(archive.RunAt(1, 3), archive.RunAt(1, 5));
  EXPECT_EQ(archive.RunAt(1, 5)->last_stored, StoredAt(5));
  EXPECT_EQ(archive.RunAt(1, 6), nullptr);
  EXPECT_EQ(archive.RunAt(1, 8)->first, 8U);
  EXPECT_EQ(archive.RunAt(1, 9), nullptr);
  EXPECT_EQ(archive.RunAt(3, 1), nullptr);
  EXPECT_TRUE(archive.HasAny(1, 1, 3));
  EXPECT_TRUE(archive.HasAny(1, 6, 100));
  EXPECT_FALSE(archive.HasAny(1, 6, 7));
  EXPECT_FALSE(archive.HasAny(1, 9, 100));
  EXPECT_FALSE(archive.HasAny(3, 0, 100));
}

TEST(ArchiveMap, LeadsAlongHistories) {
  const ArchiveMap archive = ArchiveOf(
      {{1, 1, 9}, {4, 20, 20}}, {{2, "1\t0/500000\tx\n"}, {3, "1\t0/500000\tx\n2\t0/780000\tx\n"}});
  EXPECT_EQ(archive.NewestFrom(1, Lsn{0x500000}), 3U);
  EXPECT_EQ(archive.NewestFrom(1, Lsn{0x500001}), 1U);
  EXPECT_EQ(archive.NewestFrom(2, Lsn{0x780000}), 3U);
  EXPECT_EQ(archive.NewestFrom(2, Lsn{0x780001}), 2U);
  EXPECT_EQ(archive.NewestFrom(4, Lsn{1}), 4U);
  EXPECT_EQ(archive.NewestFrom(9, Lsn{1}), 9U);

  const std::vector<PathPart> path = archive.PathTo(3);
  ASSERT_EQ(path.size(), 3U);
  EXPECT_EQ(path[1].timeline, 2U);
  EXPECT_EQ(path[1].begin, Lsn{0x500000});
  EXPECT_EQ(path[1].end, Lsn{0x780000});
  EXPECT_EQ(path[2].begin, Lsn{0x780000});
  EXPECT_EQ(archive.PathTo(4).size(), 1U);
}

TEST(ArchiveMap, GapsOfOneTimeline) {
  EXPECT_THAT(PiecesOf(ArchiveOf({})), IsEmpty());
  EXPECT_THAT(PiecesOf(ArchiveOf({{1, 3, 5}})), ElementsAre("1: 3-5"));
  EXPECT_THAT(PiecesOf(ArchiveOf({{1, 3, 5}, {1, 8, 8}, {1, 10, 12}, {2, 20, 21}})),
              ElementsAre("1: 3-5", "1: gap 6-7", "1: 8-8", "1: gap 9-9", "1: 10-12", "2: 20-21"));
}

struct SwitchCase {
  const char* name;
  std::vector<MadeUpRun> runs;
  MadeUpHistories histories;
  std::vector<std::string> pieces;
};

// Unless a case says otherwise, timelines part in the middle of segment 5.
TEST(ArchiveMap, GapsBetweenTimelines) {
  const MadeUpHistories middle = {{2, "1\t0/580000\tx\n"}};
  const MadeUpHistories boundary = {{2, "1\t0/500000\tx\n"}};
  const SwitchCase cases[] = {
      {"nothing is missing", {{1, 1, 4}, {2, 5, 6}}, middle, {"1: 1-4", "2: 5-6"}},
      {"at a boundary", {{1, 1, 4}, {2, 5, 6}}, boundary, {"1: 1-4", "2: 5-6"}},
      {"the end of the old", {{1, 1, 2}, {2, 5, 6}}, middle, {"1: 1-2", "1: gap 3-4", "2: 5-6"}},
      {"the same at a boundary",
       {{1, 1, 2}, {2, 5, 6}},
       boundary,
       {"1: 1-2", "1: gap 3-4", "2: 5-6"}},
      {"the start of the new", {{1, 1, 5}, {2, 7, 8}}, middle, {"1: 1-5", "2: gap 5-6", "2: 7-8"}},
      {"both", {{1, 1, 3}, {2, 6, 8}}, middle, {"1: 1-3", "1: gap 4-4", "2: gap 5-5", "2: 6-8"}},
      {"the new one is yet to come", {{1, 1, 4}}, middle, {"1: 1-4"}},
      {"and the end of the old, too", {{1, 1, 3}}, middle, {"1: 1-3", "1: gap 4-4"}},
      {"the old one went on", {{1, 1, 9}, {2, 5, 6}}, middle, {"1: 1-9", "2: 5-6"}},
      {"and has a gap around the switch: what is behind it is nobody's",
       {{1, 1, 2}, {1, 8, 9}, {2, 5, 6}},
       middle,
       {"1: 1-2", "1: gap 3-4", "1: 8-9", "2: 5-6"}},
      {"and left recycled segments behind it",
       {{1, 1, 5}, {1, 8, 8}, {1, 11, 11}, {2, 5, 6}},
       middle,
       {"1: 1-5", "1: 8-8", "1: 11-11", "2: 5-6"}},
      {"and is alive: a clone parted from it",
       {{1, 1, 6}, {1, 8, 9}, {1, 11, 11}, {2, 5, 6}},
       middle,
       {"1: 1-6", "1: gap 7-7", "1: 8-9", "1: gap 10-10", "1: 11-11", "2: 5-6"}},
      {"nothing of the old one is left", {{2, 7, 8}}, middle, {"2: 7-8"}},
      {"the old one's only after the switch", {{1, 7, 8}, {2, 6, 7}}, middle, {"1: 7-8", "2: 6-7"}},
      {"a timeline within one segment",
       {{1, 1, 4}, {3, 5, 6}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/590000\tx\n"}},
       {"1: 1-4", "3: 5-6"}},
      {"a whole timeline",
       {{1, 1, 4}, {3, 7, 8}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/580000\tx\n2\t0/780000\tx\n"}},
       {"1: 1-4", "2: gap 5-6", "3: 7-8"}},
      {"two parted from one",
       {{1, 1, 2}, {2, 5, 6}, {3, 8, 9}},
       {{2, "1\t0/580000\tx\n"}, {3, "1\t0/880000\tx\n"}},
       {"1: 1-2", "1: gap 3-7", "2: 5-6", "3: 8-9"}},
  };
  for (const SwitchCase& one : cases) {
    EXPECT_EQ(PiecesOf(ArchiveOf(one.runs, one.histories)), one.pieces) << one.name;
  }
}

class ReadArchiveMapTest : public testing::Test {
 protected:
  Result<ArchiveMap> Read() {
    const auto ranges = repository_.wal().Ranges(kTestSegmentSize);
    EXPECT_OK(ranges);
    return ReadArchiveMap(*repository_, TestIdentity(), *ranges);
  }

  TestRepository repository_;
};

TEST_F(ReadArchiveMapTest, WithHistoriesOfTimelinesWithoutSegments) {
  EXPECT_THAT(PiecesOf(Read().value()), IsEmpty());
  repository_.PushSegment(1, 3);
  EXPECT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/580000\treason\n")));
  repository_.PushSegment(3, 9);  // its history file is missing
  const auto archive = Read();
  ASSERT_OK(archive);
  EXPECT_THAT(PiecesOf(*archive), ElementsAre("1: 3-3", "1: gap 4-4", "3: 9-9"));
  EXPECT_EQ(archive->NewestFrom(1, Lsn{0x400000}), 2U);
}

TEST_F(ReadArchiveMapTest, RefusesADamagedHistory) {
  EXPECT_OK(repository_.PushWal("00000002.history", AsBytes("nonsense\n")));
  EXPECT_ERROR(Read(), ErrorCode::kDataCorrupted);
}

TEST_F(ReadArchiveMapTest, TroubleOfTheStoreIsNotAnAnswer) {
  EXPECT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/580000\treason\n")));
  repository_.store().SetHook([](FaultStore::Operation operation, std::string_view) -> Status {
    if (operation == FaultStore::Operation::kGet) {
      return MakeError(ErrorCode::kUnavailable, "the store is away");
    }
    return Ok();
  });
  EXPECT_ERROR(Read(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace veza
