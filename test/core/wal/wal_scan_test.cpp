#include "core/wal/wal_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/archive/archive_map.h"
#include "core/archive/gap_record.h"
#include "core/archive/push_wal_file.h"
#include "core/repository/made_up_wal.h"
#include "core/repository/names.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<WalEvent> EventsOf(ByteView segment, Lsn begin, std::size_t piece) {
  std::vector<WalEvent> events;
  WalScanner scanner(begin, [&](const WalEvent& event) { events.push_back(event); });
  for (std::size_t at = 0; at < segment.size(); at += piece) {
    scanner.Feed(segment.subspan(at, std::min(piece, segment.size() - at)));
  }
  scanner.Finish();
  return events;
}

TEST(WalScan, FindsTheEndsOfTransactionsAndChangesToMinimal) {
  MadeUpWal wal(5);
  wal.Fill(100);
  wal.Fill(20'000);  // spans three pages
  const Lsn commit = wal.Commit(kTestTime);
  wal.Level(1);
  wal.Fill(8000);
  const Lsn minimal = wal.Level(0);
  for (int i = 0; i < 1000; ++i) {
    wal.Fill(static_cast<std::size_t>(i));  // ends at any place of a page
  }
  const Lsn last = wal.Commit(kTestTime + std::chrono::hours(1));
  const Bytes segment = wal.Segment();
  for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{1000}, std::size_t{17}}) {
    const std::vector<WalEvent> events = EventsOf(segment, Lsn{5 * kTestSegmentSize}, piece);
    ASSERT_THAT(events, SizeIs(3)) << piece;
    EXPECT_EQ(events[0].lsn, commit);
    EXPECT_EQ(events[0].time, kTestTime);
    EXPECT_EQ(events[1].kind, WalEvent::Kind::kMinimal);
    EXPECT_EQ(events[1].lsn, minimal);
    EXPECT_EQ(events[2].lsn, last);
    EXPECT_EQ(events[2].time, kTestTime + std::chrono::hours(1));
  }
  EXPECT_THAT(EventsOf(segment, Lsn{6 * kTestSegmentSize}, 4096), IsEmpty()) << "other addresses";
}

// No commit has such a time, but a page that is damaged or forged may say any.
TEST(WalScan, ATimeBeyondAllTimesIsTheLast) {
  MadeUpWal wal(5);
  const TimePoint last = TimePoint::max();
  wal.Commit(last);
  Bytes segment = wal.Segment();
  const std::int64_t stored = last.time_since_epoch().count() - 946'684'800'000'000;
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&stored);
  const auto found = std::search(segment.begin(), segment.end(), bytes, bytes + sizeof stored);
  ASSERT_NE(found, segment.end());
  const std::int64_t beyond = std::numeric_limits<std::int64_t>::max();
  std::memcpy(&*found, &beyond, sizeof beyond);
  const std::vector<WalEvent> events = EventsOf(segment, Lsn{5 * kTestSegmentSize}, 8192);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].time, last);
}

TEST(WalScan, EndsAtASwitchAndWhereItCannotFollow) {
  MadeUpWal wal(5);
  wal.Commit(kTestTime);
  wal.Switch();
  wal.Level(0);
  EXPECT_THAT(EventsOf(wal.Segment(), Lsn{5 * kTestSegmentSize}, 8192), SizeIs(1));

  MadeUpWal broken(5);
  broken.Commit(kTestTime);
  broken.Fill(9000);
  broken.Level(0);
  Bytes segment = broken.Segment();
  segment[8192 + 8] ^= 0xFF;  // the second page has another address: it is left over from before
  EXPECT_THAT(EventsOf(segment, Lsn{5 * kTestSegmentSize}, 8192), SizeIs(1));
  EXPECT_THAT(EventsOf(Bytes(kTestSegmentSize), Lsn{5 * kTestSegmentSize}, 8192), IsEmpty());
  EXPECT_THAT(EventsOf(Bytes(kTestSegmentSize, 0xFF), Lsn{5 * kTestSegmentSize}, 8192), IsEmpty());
}

TEST(WalScan, AChangeOfParametersThatIsCutOffIsInDoubt) {
  MadeUpWal wal(5);
  while (kTestSegmentSize - wal.size() > 250) {
    wal.Fill(6);
  }
  // Fills the segment up to 40 bytes before its end.
  wal.Fill(kTestSegmentSize - (wal.size() + 7) / 8 * 8 - 40 - 26);
  wal.Level(1);
  Bytes segment = wal.Segment();
  const std::vector<WalEvent> events = EventsOf(segment, Lsn{5 * kTestSegmentSize}, 8192);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].kind, WalEvent::Kind::kMinimal);
}

TEST(WalScan, TellsARecycledSegmentFromADamagedOne) {
  MadeUpWal wal(5);
  wal.Commit(kTestTime);
  Bytes segment = wal.Segment();
  const auto judge = [&](SegmentNumber segment_number) {
    return JudgeFirstPage(segment, Lsn{segment_number * kTestSegmentSize}, kTestSystem,
                          kTestSegmentSize);
  };
  EXPECT_EQ(judge(5), FirstPage::kOfSegment);
  EXPECT_EQ(judge(9), FirstPage::kRecycled);
  segment[8] ^= 0x40;  // not the address of any segment
  EXPECT_EQ(judge(5), FirstPage::kUnknown);
  segment[8] ^= 0x40;
  segment[24] ^= 1;  // another system
  EXPECT_EQ(judge(9), FirstPage::kUnknown);
  segment.assign(kTestSegmentSize, 0);
  EXPECT_EQ(judge(9), FirstPage::kUnknown);
  segment.resize(10);
  EXPECT_EQ(judge(9), FirstPage::kUnknown);
}

TEST(WalScan, ARecycledSegmentIsNotStoredAndADamagedOneIs) {
  const TestRepository repository;
  MadeUpWal wal(5);
  wal.Commit(kTestTime);
  const auto push = [&](SegmentNumber number, const Bytes& content) {
    return repository.PushWal(SegmentName(1, number, kTestSegmentSize), content).value();
  };
  EXPECT_EQ(push(5, wal.Segment()), PushOutcome::kStored);
  EXPECT_EQ(push(8, wal.Segment()), PushOutcome::kStored) << "the timeline is the server's own";
  const TemporaryDirectory pg_wal;
  const auto archive = [&](SegmentNumber number) {
    const std::string segment = SegmentName(1, number, kTestSegmentSize);
    WriteBytes(pg_wal.path() + "/" + segment, wal.Segment());
    return PushWalFile(repository.wal(), segment, pg_wal.path() + "/" + segment).value();
  };
  WriteText(pg_wal.path() + "/00000002.history",
            fmt::format("1\t{}\tx\n", FormatLsn(Lsn{7 * kTestSegmentSize + 5})));
  EXPECT_EQ(archive(6), PushOutcome::kStored) << "in front of the fork";
  EXPECT_EQ(archive(7), PushOutcome::kRecycled);
  EXPECT_EQ(archive(9), PushOutcome::kRecycled);
  EXPECT_FALSE(repository.wal().Contains(SegmentName(1, 9, kTestSegmentSize)).value());
  WriteText(pg_wal.path() + "/00000002.history", "");
  EXPECT_EQ(archive(9), PushOutcome::kStored) << "in doubt";
  EXPECT_EQ(push(10, Bytes(kTestSegmentSize, 0xA5)), PushOutcome::kStored);
}

TEST(WalScan, WalWithMinimalLevelIsRecordedBehindItsSegment) {
  const TestRepository repository;
  MadeUpWal wal(5);
  wal.Commit(kTestTime);
  const Lsn lsn = wal.Level(0);
  const std::string segment = SegmentName(1, 5, kTestSegmentSize);
  ASSERT_OK(repository.PushWal(segment, wal.Segment()));
  const auto minimal = ReadMinimalWal(*repository, kTestSystem);
  ASSERT_OK(minimal);
  ASSERT_THAT(*minimal, SizeIs(1));
  EXPECT_EQ((*minimal)[0].timeline, 1U);
  EXPECT_EQ((*minimal)[0].lsn, lsn);
  // Records of gaps, of the same segment and of another, are not returned.
  ASSERT_OK(RecordGap(*repository, kTestSystem, {segment, segment}));
  EXPECT_THAT(*ReadMinimalWal(*repository, kTestSystem), SizeIs(1));
  EXPECT_EQ(ReadGap(*repository, GapName(kTestSystem, segment, segment)).value().minimal,
            std::nullopt);
}

// The segment of another server is refused. After a crash between segment and record, the server
// sends the segment again.
TEST(WalScan, OnlyWhatIsStoredIsRecordedAndAgainWhenItIsThere) {
  const TestRepository repository;
  const std::string segment = SegmentName(1, 5, kTestSegmentSize);
  MadeUpWal wal(5);
  wal.Commit(kTestTime);
  ASSERT_OK(repository.PushWal(segment, wal.Segment()));
  MadeUpWal other(5);
  const Lsn lsn = other.Level(0);
  EXPECT_ERROR(repository.PushWal(segment, other.Segment()), ErrorCode::kConflict);
  EXPECT_THAT(*ReadMinimalWal(*repository, kTestSystem), IsEmpty());

  const std::string next = SegmentName(2, 5, kTestSegmentSize);
  ASSERT_OK(repository.PushWal(next, other.Segment()));
  const std::string record = GapName(kTestSystem, next, next) + ".minimal";
  ASSERT_TRUE(std::filesystem::remove(repository.PathOf(record)));
  EXPECT_EQ(repository.PushWal(next, other.Segment()).value(), PushOutcome::kAlreadyThere);
  ASSERT_THAT(*ReadMinimalWal(*repository, kTestSystem), SizeIs(1));
  EXPECT_EQ((*ReadMinimalWal(*repository, kTestSystem))[0].lsn, lsn);
}

TEST(WalScan, OfARecordThatCannotBeOpenedTheNameCounts) {
  const TestRepository repository;
  const std::string segment = SegmentName(1, 5, kTestSegmentSize);
  const std::string record = GapName(kTestSystem, segment, segment) + ".minimal";
  std::filesystem::create_directories(
      std::filesystem::path(repository.PathOf(record)).parent_path());
  WriteText(repository.PathOf(record), "{}");
  WriteText(repository.PathOf(GapName(kTestSystem, segment, segment)), "damaged");
  WriteText(repository.PathOf(GapPrefix(kTestSystem) + "foreign.minimal"), "x");
  const auto minimal = ReadMinimalWal(*repository, kTestSystem);
  ASSERT_OK(minimal);
  ASSERT_THAT(*minimal, SizeIs(1));
  EXPECT_TRUE((*minimal)[0].doubt);
  EXPECT_EQ((*minimal)[0].object, record);
  const ArchiveMap map(kTestSegmentSize, {}, {}, *minimal);
  const Lsn inside{5 * kTestSegmentSize + 100};
  const Lsn end{6 * kTestSegmentSize};
  EXPECT_EQ(map.FirstMinimal(1, Lsn{}, end), Lsn{5 * kTestSegmentSize});
  EXPECT_EQ(map.FirstMinimal(1, inside, end), inside) << "it may be behind";
  EXPECT_EQ(map.FirstMinimal(1, end, Lsn{7 * kTestSegmentSize}), std::nullopt);
}

}  // namespace
}  // namespace veza
