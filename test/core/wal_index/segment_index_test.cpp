#include "core/wal_index/segment_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <set>

#include "core/codec/varint.h"
#include "core/memory_gauge.h"
#include "core/wal/wal_border.h"
#include "core/wal_index/indexed_wal.h"
#include "core/wal_index/summary_json.h"

namespace veza {

void PrintTo(const BlockRun& run, std::ostream* out) {
  *out << fmt::format("{}/{}/{} fork {}: {} from {}", run.fork.file.tablespace,
                      run.fork.file.database, run.fork.file.relation, run.fork.fork, run.count,
                      run.first);
}

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kNoon{std::chrono::seconds(1'795'348'800)};  // a whole minute
constexpr RelationFile kAccounts{1663, 5, 16384};
constexpr RelationFile kHistory{1663, 5, 16390};
constexpr RelationFile kShared{1664, 0, 1262};

SegmentIndex IndexOfOne(const WalWriter& wal) {
  const std::vector<SegmentIndex> indexes = IndexAll(wal);
  EXPECT_THAT(indexes, SizeIs(1));
  return indexes.front();
}

// As it is after it was stored and read.
SegmentSummary Stored(const SegmentSummary& summary) {
  const std::optional<Json> json = ParseJson(SummaryToJson(summary).Print());
  SegmentSummary read;
  read.timeline = summary.timeline;
  read.segment_size = summary.segment_size;
  const Status parsed = SummaryFromJson(json.value_or(Json()), "index", read);
  EXPECT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_EQ(SummaryToJson(read).Print(), SummaryToJson(summary).Print());
  return read;
}

// --- Blocks --------------------------------------------------------------------------------

TEST(SegmentIndex, NamesEachBlockOnceInRunsByRelationAndFork) {
  WalWriter wal({});
  for (const std::uint32_t block : {7U, 3U, 4U, 7U, 7U, 5U, 0U, 1000U}) {
    wal.Add(Change(9, kAccounts, block));
  }
  wal.Add(Change(9, kShared, 2));
  wal.Add(Change(9, kAccounts, 3, kVisibilityMapFork));
  wal.Add(Change(9, kAccounts, 1, kFreeSpaceMapFork));
  wal.Add(Change(9, kAccounts, 0, kInitFork));
  wal.Add(Change(9, {1663, 4, 99999}, 0xFFFF'FFFE));
  const SegmentIndex index = IndexOfOne(wal);
  EXPECT_THAT(
      RunsOf(index.blocks),
      ElementsAre(BlockRun{{{1663, 4, 99999}, kMainFork}, 0xFFFF'FFFE, 1},
                  BlockRun{{kAccounts, kMainFork}, 0, 1}, BlockRun{{kAccounts, kMainFork}, 3, 3},
                  BlockRun{{kAccounts, kMainFork}, 7, 1}, BlockRun{{kAccounts, kMainFork}, 1000, 1},
                  BlockRun{{kAccounts, kFreeSpaceMapFork}, 1, 1},
                  BlockRun{{kAccounts, kVisibilityMapFork}, 3, 1},
                  BlockRun{{kAccounts, kInitFork}, 0, 1}, BlockRun{{kShared, kMainFork}, 2, 1}));
  EXPECT_FALSE(index.summary.doubt);
  EXPECT_THAT(TransactionsOf(index).touches, SizeIs(3));
}

TEST(SegmentIndex, ABlockThatCannotExistIsADoubt) {
  for (const auto& [block, fork] :
       {std::pair(0xFFFF'FFFFU, 0), std::pair(1U, 4), std::pair(1U, 15)}) {
    WalWriter wal({});
    wal.Add(Change(9, kAccounts, 5));
    const Lsn begin = wal.Add(Change(9, kAccounts, block, static_cast<std::uint8_t>(fork)));
    const SegmentIndex index = IndexOfOne(wal);
    EXPECT_THAT(RunsOf(index.blocks), ElementsAre(BlockRun{{kAccounts, kMainFork}, 5, 1}));
    ASSERT_TRUE(index.summary.doubt);
    EXPECT_EQ(index.summary.doubt->lsn, begin);
    EXPECT_EQ(index.summary.doubts, 1U);
    EXPECT_THAT(index.summary.doubt->reason, HasSubstr("a block that cannot exist"));
  }
}

// --- Transactions --------------------------------------------------------------------------

TEST(SegmentIndex, SaysHowTransactionsEndedAndWhatTheyTouched) {
  WalWriter wal({});
  wal.Add(Change(100, kAccounts, 1));
  wal.Add(Change(101, kHistory, 1));
  wal.Add(Change(100, kAccounts, 1));
  wal.Add(Change(100, kAccounts, 2, kVisibilityMapFork));
  wal.Add(Change(0, kShared, 2));
  const Lsn commit = wal.Add(
      EndRecord({.xid = 100, .time = kNoon, .database = 5, .subtransactions = {102, 104, 103}}));
  const Lsn abort = wal.Add(
      EndRecord({.xid = 101, .time = kNoon - std::chrono::microseconds(3), .committed = false}));
  const Lsn end = wal.position();
  const SegmentIndex index = IndexOfOne(wal);
  const IndexedTransactions transactions = TransactionsOf(index);

  ASSERT_THAT(transactions.ends, SizeIs(2));
  EXPECT_EQ(transactions.ends[0].begin, commit);
  EXPECT_EQ(transactions.ends[0].end, abort);
  EXPECT_EQ(transactions.ends[0].time, kNoon);
  EXPECT_EQ(transactions.ends[0].xid, 100U);
  EXPECT_EQ(transactions.ends[0].database, 5U);
  EXPECT_TRUE(transactions.ends[0].committed);
  EXPECT_FALSE(transactions.ends[0].prepared);
  EXPECT_THAT(transactions.ends[0].subtransactions, ElementsAre(102, 104, 103));
  EXPECT_EQ(transactions.ends[1].begin, abort);
  EXPECT_EQ(transactions.ends[1].time, kNoon - std::chrono::microseconds(3));
  EXPECT_FALSE(transactions.ends[1].committed);
  EXPECT_THAT(transactions.ends[1].subtransactions, IsEmpty());

  ASSERT_THAT(transactions.touches, SizeIs(3));
  EXPECT_EQ(transactions.touches[0].xid, 0U);
  EXPECT_EQ(transactions.touches[0].file, kShared);
  EXPECT_EQ(transactions.touches[1].xid, 100U);
  EXPECT_EQ(transactions.touches[1].file, kAccounts);
  EXPECT_EQ(transactions.touches[1].blocks, 3U);
  EXPECT_EQ(transactions.touches[2].xid, 101U);

  const SegmentSummary summary = Stored(index.summary);
  EXPECT_EQ(summary.records, 7U);
  EXPECT_EQ(summary.end.value, (end.value + 7) & ~7ULL);
  EXPECT_EQ(summary.last_end->begin, abort);
  EXPECT_EQ(summary.earliest_end, kNoon - std::chrono::microseconds(3));
  EXPECT_EQ(summary.latest_end, kNoon);
  EXPECT_EQ(summary.version, 15);
  EXPECT_EQ(summary.last_page_timeline, 1U);
}

// A transaction that touches many relations, among others that do.
TEST(SegmentIndex, JoinsWhatATransactionTouchesInManyRelations) {
  WalWriter wal({});
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> expected;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const std::uint32_t xid = i % 7 == 0 ? 5 : 5 + 256 * (i % 3);  // they share a place
    const std::uint32_t relation = 20'000 + i % 300;
    wal.Add(Change(xid, {1663, 5, relation}, i));
    ++expected[{xid, relation}];
  }
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> found;
  for (const IndexedTouch& touch : TransactionsOf(IndexOfOne(wal)).touches) {
    found[{touch.xid, touch.file.relation}] += touch.blocks;
  }
  EXPECT_EQ(found, expected);
}

TEST(SegmentIndex, KeepsAHundredThousandSubtransactions) {
  WalWriter wal({});
  std::vector<std::uint32_t> subtransactions(100'000);
  for (std::uint32_t i = 0; i < subtransactions.size(); ++i) {
    subtransactions[i] = 0xFFFF'FF00U + 3 * i;  // across the end of the numbers
  }
  wal.Add(EndRecord({.xid = 77, .time = kNoon, .subtransactions = subtransactions}));
  const SegmentIndex index = IndexOfOne(wal);
  EXPECT_FALSE(index.summary.doubt);
  ASSERT_THAT(TransactionsOf(index).ends, SizeIs(1));
  EXPECT_EQ(TransactionsOf(index).ends[0].subtransactions, subtransactions);
}

// Writes what a damaged clock may.
WrittenRecord CommitAt(std::uint32_t xid, std::int64_t timestamp) {
  WrittenRecord record{.manager = kTransactionManager, .xid = xid};
  PutNumber(record.main_data, static_cast<std::uint64_t>(timestamp));
  return record;
}

TEST(SegmentIndex, TakesAnyTime) {
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kEpoch = 946'684'800'000'000;
  WalWriter wal({});
  const std::vector<std::int64_t> times = {kLeast, kMost, -1, kLeast, 0, kMost - kEpoch};
  for (std::uint32_t i = 0; i < times.size(); ++i) {
    wal.Add(CommitAt(i, times[i]));
  }
  const SegmentIndex index = IndexOfOne(wal);
  const IndexedTransactions transactions = TransactionsOf(index);
  ASSERT_THAT(transactions.ends, SizeIs(times.size()));
  for (std::size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(transactions.ends[i].time.time_since_epoch().count(),
              std::min(times[i], kMost - kEpoch) + kEpoch);
  }
  const SegmentSummary summary = Stored(index.summary);
  EXPECT_EQ(summary.latest_end, TimePoint::max());
  EXPECT_EQ(summary.earliest_end->time_since_epoch().count(), kLeast + kEpoch);
  EXPECT_THAT(summary.minutes, SizeIs(4));
}

// --- Minutes -------------------------------------------------------------------------------

TEST(SegmentIndex, CountsEachMinute) {
  WalWriter wal({});
  WrittenRecord image = Change(9, kAccounts, 1);
  image.blocks[0].image = Bytes(100);
  wal.Add(image);  // before the first end: counts for its minute
  wal.Add(EndRecord({.xid = 1, .time = kNoon}));
  wal.Add(EndRecord({.xid = 2, .time = kNoon + std::chrono::seconds(59), .committed = false}));
  wal.Add(EndRecord({.xid = 3, .time = kNoon + std::chrono::seconds(60)}));
  wal.Add(Change(9, kAccounts, 1));
  wal.Add(EndRecord({.xid = 4, .time = kNoon - std::chrono::microseconds(1)}));
  const SegmentSummary summary = Stored(IndexOfOne(wal).summary);
  const std::int64_t noon = kNoon.time_since_epoch().count() / 60'000'000;
  ASSERT_THAT(summary.minutes, SizeIs(3));
  const std::uint64_t end = EncodeRecord(EndRecord({.xid = 1, .time = kNoon})).size();
  EXPECT_EQ(summary.minutes[0].minute, noon - 1);
  EXPECT_EQ(summary.minutes[0].bytes, end);
  EXPECT_EQ(summary.minutes[1].minute, noon);
  EXPECT_EQ(summary.minutes[1].commits, 1U);
  EXPECT_EQ(summary.minutes[1].aborts, 1U);
  EXPECT_EQ(summary.minutes[1].bytes, EncodeRecord(image).size() + 2 * end);
  EXPECT_EQ(summary.minutes[1].images, 1U);
  EXPECT_EQ(summary.minutes[1].image_bytes, 100U);
  EXPECT_EQ(summary.minutes[2].minute, noon + 1);
  EXPECT_EQ(summary.minutes[2].bytes, end + EncodeRecord(Change(9, kAccounts, 1)).size());
  EXPECT_EQ(summary.minutes_each, 1U);
}

// An idle cluster writes a segment in days. Its minutes become coarser, which is no doubt.
TEST(SegmentIndex, MakesMinutesCoarserIfThereAreTooMany) {
  WalWriter wal({});
  constexpr std::uint32_t kEnds = 1500;
  for (std::uint32_t i = 0; i < kEnds; ++i) {
    const std::uint32_t minute = i * 709 % kEnds;  // in no order
    wal.Add(EndRecord({.xid = i, .time = kNoon + std::chrono::minutes(minute)}));
  }
  const SegmentSummary summary = Stored(IndexOfOne(wal).summary);
  EXPECT_FALSE(summary.doubt);
  EXPECT_EQ(summary.minutes_each, 8U);
  EXPECT_LE(summary.minutes.size(), kIndexMostMinutes);
  std::uint64_t commits = 0;
  for (const MinuteOfWal& minute : summary.minutes) {
    EXPECT_EQ(minute.minute % 8, 0);
    commits += minute.commits;
  }
  EXPECT_EQ(commits, kEnds);
}

// --- Events and doubts ---------------------------------------------------------------------

TEST(SegmentIndex, SaysWhatACommitDrops) {
  WalWriter wal({});
  const Lsn begin = wal.Add(EndRecord({.xid = 8,
                                       .time = kNoon,
                                       .database = 5,
                                       .subtransactions = {9},
                                       .dropped = {kAccounts, kHistory, kShared}}));
  const std::vector<IndexedEvent> events = EventsOf(IndexOfOne(wal));
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].begin, begin);
  EXPECT_EQ(events[0].xid, 8U);
  const auto& end = std::get<TransactionEnd>(events[0].fact);
  EXPECT_THAT(end.dropped, ElementsAre(kAccounts, kHistory, kShared));
  EXPECT_EQ(end.time, kNoon);
  EXPECT_EQ(end.database, 5U);
  EXPECT_TRUE(end.committed);
}

// A million relations, of which the list takes more than JSON may have.
TEST(SegmentIndex, LeavesOutEventsThatAreTooLargeWithADoubt) {
  WalWriter wal({.begin = Lsn{std::uint64_t{64} << 20}, .segment_size = std::uint64_t{64} << 20});
  std::vector<RelationFile> dropped(limits::kJsonValues / 4 + 1, kAccounts);
  wal.Add(EndRecord({.xid = 8, .time = kNoon, .dropped = dropped}));
  const SegmentIndex index = IndexOfOne(wal);
  EXPECT_THAT(index.events, IsEmpty());
  ASSERT_TRUE(index.summary.doubt);
  EXPECT_THAT(index.summary.doubt->reason, HasSubstr("more events than its index may hold"));
  EXPECT_THAT(TransactionsOf(index).ends, SizeIs(1));

  WalWriter fits({.begin = Lsn{std::uint64_t{64} << 20}, .segment_size = std::uint64_t{64} << 20});
  dropped.pop_back();
  fits.Add(EndRecord({.xid = 8, .time = kNoon, .dropped = dropped}));
  const std::vector<IndexedEvent> events = EventsOf(IndexOfOne(fits));
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(std::get<TransactionEnd>(events[0].fact).dropped, dropped);
}

TEST(SegmentIndex, ACustomResourceManagerWithoutBlocksIsADoubt) {
  WalWriter wal({});
  wal.Add({.manager = 200, .blocks = {{.file = kAccounts, .block = 1}}, .main_data = Bytes(8)});
  EXPECT_FALSE(IndexOfOne(wal).summary.doubt);
  const Lsn begin = wal.Add({.manager = 200, .main_data = Bytes(8)});
  wal.Add({.manager = 200, .main_data = Bytes(8)});
  const SegmentSummary summary = Stored(IndexOfOne(wal).summary);
  ASSERT_TRUE(summary.doubt);
  EXPECT_EQ(summary.doubt->lsn, begin);
  EXPECT_EQ(summary.doubts, 2U);
}

TEST(SegmentIndex, AnUnknownFormOfACommitIsADoubtAndAnEnd) {
  WalWriter wal({});
  WrittenRecord record = CommitAt(12, PostgresTime(kNoon));
  record.main_data.push_back(1);
  wal.Add(record);
  const SegmentIndex index = IndexOfOne(wal);
  EXPECT_EQ(index.summary.doubts, 1U);
  ASSERT_THAT(TransactionsOf(index).ends, SizeIs(1));
  EXPECT_EQ(TransactionsOf(index).ends[0].time, kNoon);
}

// --- Segments that are not as they should be -----------------------------------------------

TEST(SegmentIndex, ASegmentOfAnotherSystemIsADoubt) {
  WalWriter wal({});
  wal.Add(Change(9, kAccounts, 1));
  SegmentIndexer::Options options = IndexOptionsFor(wal);
  options.system_identifier = 1;
  const SegmentIndex index = IndexOf(wal.Whole(), options);
  ASSERT_TRUE(index.summary.doubt);
  EXPECT_THAT(index.summary.doubt->reason, HasSubstr("of another cluster"));
  EXPECT_THAT(index.blocks, IsEmpty());
  Stored(index.summary);
}

TEST(SegmentIndex, ARecycledSegmentIsADoubt) {
  WalWriter wal({});
  wal.Add(Change(9, kAccounts, 1));
  SegmentIndexer::Options options = IndexOptionsFor(wal);
  ++options.number;
  const SegmentIndex index = IndexOf(wal.Whole(), options);
  ASSERT_TRUE(index.summary.doubt);
  EXPECT_THAT(index.summary.doubt->reason, HasSubstr("earlier use"));
  EXPECT_EQ(index.summary.ends, WalEnd::kUnwritten);
  EXPECT_EQ(index.summary.end.value, options.number * options.segment_size);
  EXPECT_THAT(index.blocks, IsEmpty());
}

TEST(SegmentIndex, ASegmentWithoutAReadablePageIsADoubt) {
  const SegmentIndexer::Options options = IndexOptionsFor(WalWriter({}));
  for (const Bytes& segment : {Bytes(), Bytes(100), Bytes(kIndexedSegment),
                               Bytes(kIndexedSegment, 0x55), Bytes(39, 0xD1)}) {
    const SegmentIndex index = IndexOf(segment, options);
    EXPECT_EQ(index.summary.doubts, 1U);
    EXPECT_EQ(index.summary.records, 0U);
    EXPECT_EQ(index.summary.begin, Lsn{});
    EXPECT_THAT(index.blocks, IsEmpty());
    EXPECT_THAT(index.transactions, IsEmpty());
    EXPECT_THAT(index.summary.minutes, IsEmpty());
    Stored(index.summary);
  }
}

TEST(SegmentIndex, AnUnwrittenRestIsNoDoubtAndDamageIsOne) {
  WalWriter wal({});
  wal.Add(Change(9, kAccounts, 1));
  const Lsn second = wal.Add(Change(9, kAccounts, 2));
  const SegmentIndex unwritten = IndexOfOne(wal);
  EXPECT_EQ(unwritten.summary.ends, WalEnd::kUnwritten);
  EXPECT_FALSE(unwritten.summary.doubt);
  EXPECT_THAT(RunsOf(unwritten.blocks), ElementsAre(BlockRun{{kAccounts, kMainFork}, 1, 2}));

  Bytes damaged = wal.Whole();
  damaged[second.value - wal.options().begin.value + 40] ^= 1;
  const SegmentIndex index = IndexOf(damaged, IndexOptionsFor(wal));
  EXPECT_EQ(index.summary.ends, WalEnd::kDamaged);
  EXPECT_EQ(index.summary.end, second);
  ASSERT_TRUE(index.summary.doubt);
  EXPECT_THAT(index.summary.doubt->reason, HasSubstr("wrong CRC"));
  EXPECT_THAT(RunsOf(index.blocks), ElementsAre(BlockRun{{kAccounts, kMainFork}, 1, 1}));

  SegmentIndexer::Options trusted = IndexOptionsFor(wal);
  trusted.check_crc = false;
  EXPECT_EQ(IndexOf(damaged, trusted).summary.records, 2U);
}

TEST(SegmentIndex, ALaterTimelineThanThatOfTheSegmentIsADoubt) {
  WalWriter wal({.timeline = 4});
  wal.Add(Change(9, kAccounts, 1));
  SegmentIndexer::Options options = IndexOptionsFor(wal);
  options.timeline = 5;
  EXPECT_FALSE(IndexOf(wal.Whole(), options).summary.doubt);
  options.timeline = 3;
  EXPECT_TRUE(IndexOf(wal.Whole(), options).summary.doubt);
}

TEST(SegmentIndex, ZerosBehindASwitchAreNoEnd) {
  WalWriter wal({});
  wal.Add(Change(9, kAccounts, 1));
  wal.Switch();
  const SegmentIndex index = IndexOfOne(wal);
  EXPECT_EQ(index.summary.ends, WalEnd::kSwitch);
  EXPECT_EQ(index.summary.end.value, wal.options().begin.value + kIndexedSegment);
  EXPECT_FALSE(index.summary.doubt);
  const std::vector<IndexedEvent> events = EventsOf(index);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_TRUE(std::holds_alternative<SegmentSwitched>(events[0].fact));
}

// --- minimal -------------------------------------------------------------------------------

WrittenRecord Parameters(std::uint32_t wal_level) {
  WrittenRecord record{.manager = kXlogManager, .info = 0x60};
  for (const std::uint32_t number : {100U, 8U, 10U, 0U, 64U, wal_level, 0U}) {
    PutNumber(record.main_data, number);
  }
  return record;
}

TEST(SegmentIndex, SaysWhereMinimalBegins) {
  WalWriter wal({});
  wal.Add(Parameters(1));
  SegmentIndexer indexer;
  indexer.Begin(IndexOptionsFor(wal));
  indexer.Feed(wal.Whole());
  EXPECT_FALSE(indexer.minimal());

  const Lsn begin = wal.Add(Parameters(0));
  wal.Add(Parameters(0));
  indexer.Begin(IndexOptionsFor(wal));
  indexer.Feed(wal.Whole());
  EXPECT_EQ(indexer.minimal(), begin);
  EXPECT_THAT(EventsOf(indexer.Finish()), SizeIs(3));
  indexer.Begin(IndexOptionsFor(wal));
  EXPECT_FALSE(indexer.minimal());
}

// What is not in the segment counts as minimal.
TEST(SegmentIndex, AParameterChangeOnTheBorderCountsAsMinimal) {
  for (const std::uint32_t level : {0U, 1U}) {
    for (const std::size_t left : {8U, 24U, 32U, 48U}) {
      WalWriter wal({});
      while (wal.bytes().size() + 2 * 8192 <= kIndexedSegment) {
        wal.Add({.main_data = Bytes(4000)});
      }
      while (wal.bytes().size() + 8192 < kIndexedSegment) {
        wal.FillTo(0);
      }
      wal.FillTo(left);
      const Lsn begin = wal.Add(Parameters(level));
      const SegmentIndexer::Options options = IndexOptionsFor(wal);
      SegmentIndexer indexer;
      indexer.Begin(options);
      indexer.Feed(ByteView(wal.Whole()).first(kIndexedSegment));
      const SegmentIndex index = indexer.Finish();
      EXPECT_EQ(indexer.minimal().has_value(), left > 8) << level << " " << left;
      ASSERT_TRUE(index.summary.head) << left;
      EXPECT_EQ(index.summary.head->begin, begin);
    }
  }
}

// --- Records on borders --------------------------------------------------------------------

// What JoinBorder() makes of the stored summaries, segment by segment.
std::vector<std::string> JoinAll(const std::vector<SegmentIndex>& indexes) {
  std::vector<SegmentSummary> summaries;
  for (const SegmentIndex& index : indexes) {
    summaries.push_back(Stored(index.summary));
  }
  std::vector<std::string> records;
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    if (!summaries[i].head) {
      continue;
    }
    std::vector<WalTail> tails;
    for (std::size_t next = i + 1; next < summaries.size() && summaries[next].tail; ++next) {
      tails.push_back(*summaries[next].tail);
    }
    const auto outcome = JoinBorder(*summaries[i].head, tails, {}, [&](const WalRecord& record) {
      records.push_back(fmt::format("{} {} {} main {} of {} blocks {}", FormatLsn(record.begin),
                                    FormatLsn(record.end), record.xid, record.main_data.size(),
                                    record.main_data_length, record.blocks.size()));
      for (std::size_t at = 0; at < record.main_data.size(); ++at) {
        EXPECT_EQ(record.main_data[at], static_cast<std::uint8_t>(at * 7));
        if (record.main_data[at] != static_cast<std::uint8_t>(at * 7)) {
          break;
        }
      }
      return Ok();
    });
    EXPECT_TRUE(outcome.has_value()) << outcome.error().message;
    if (outcome.has_value() && *outcome == BorderOutcome::kOverwritten) {
      records.emplace_back("overwritten");
    }
  }
  return records;
}

Bytes CountedBytes(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::uint8_t>(i * 7);
  }
  return bytes;
}

TEST(SegmentIndex, SmallRecordsAcrossABorderAreWhole) {
  for (const std::size_t left : {8U, 16U, 24U, 32U, 64U, 200U}) {
    WalWriter wal({});
    while (wal.bytes().size() + 8192 < kIndexedSegment) {
      wal.FillTo(0);
    }
    wal.FillTo(left);
    WrittenRecord record = Change(55, kAccounts, 9);
    record.main_data = CountedBytes(300);
    const Lsn begin = wal.Add(record);
    const Lsn end{(wal.position().value + 7) & ~7ULL};
    wal.Add(Change(56, kAccounts, 10));
    const std::vector<SegmentIndex> indexes = IndexAll(wal);
    EXPECT_THAT(JoinAll(indexes), ElementsAre(fmt::format("{} {} 55 main 300 of 300 blocks 1",
                                                          FormatLsn(begin), FormatLsn(end))));
    // It belongs to the border only.
    EXPECT_THAT(RunsOf(indexes[0].blocks), IsEmpty());
    EXPECT_THAT(RunsOf(indexes[1].blocks), ElementsAre(BlockRun{{kAccounts, kMainFork}, 10, 1}));
    EXPECT_EQ(indexes[1].summary.tail->record_begin, begin);
  }
}

TEST(SegmentIndex, RecordsLongerThanSegmentsAreJoinedFromAllOfThem) {
  WalWriter wal({});
  wal.Add(Change(54, kAccounts, 8));
  WrittenRecord record = Change(55, kAccounts, 9);
  record.main_data = CountedBytes(5 * kIndexedSegment / 2);
  const Lsn begin = wal.Add(record);
  const Lsn end{(wal.position().value + 7) & ~7ULL};
  wal.Add(Change(56, kAccounts, 10));
  const std::vector<SegmentIndex> indexes = IndexAll(wal);
  ASSERT_THAT(indexes, SizeIs(3));
  EXPECT_EQ(indexes[1].summary.records, 0U);
  EXPECT_EQ(indexes[1].summary.begin, Lsn{});
  EXPECT_FALSE(indexes[1].summary.head);
  for (const SegmentIndex& index : indexes) {
    EXPECT_FALSE(index.summary.doubt);
    EXPECT_LE(index.summary.tail.value_or(WalTail()).kept.size(), kIndexLargestKept);
    EXPECT_LE(index.summary.head.value_or(WalHead()).kept.size(), kIndexLargestKept);
  }
  const std::vector<std::string> joined = JoinAll(indexes);
  ASSERT_THAT(joined, SizeIs(1));
  EXPECT_THAT(joined[0],
              HasSubstr(fmt::format("{} {} 55 main ", FormatLsn(begin), FormatLsn(end))));
  EXPECT_THAT(joined[0], HasSubstr(fmt::format("of {} blocks 1", record.main_data.size())));
}

TEST(SegmentIndex, AGivenUpRecordDoesNotCount) {
  WalWriter wal({});
  while (wal.bytes().size() + 8192 < kIndexedSegment) {
    wal.FillTo(0);
  }
  wal.FillTo(100);
  WrittenRecord record = Change(55, kAccounts, 9);
  record.main_data = CountedBytes(30'000);
  const Lsn instead = wal.GiveUp(record, 1);
  const std::vector<SegmentIndex> indexes = IndexAll(wal);
  ASSERT_THAT(indexes, SizeIs(2));
  EXPECT_THAT(JoinAll(indexes), ElementsAre("overwritten"));
  const std::vector<IndexedEvent> events = EventsOf(indexes[1]);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].begin, instead);
  EXPECT_EQ(std::get<RecordOverwritten>(events[0].fact).overwritten,
            indexes[0].summary.head->begin);
}

// --- Any WAL -------------------------------------------------------------------------------

// What a naive reader of the written records would say of each segment.
struct Model {
  std::map<RelationFork, std::set<std::uint32_t>> blocks;
  std::map<std::pair<std::uint32_t, RelationFile>, std::uint64_t> touches;
  std::vector<std::string> ends;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::size_t events = 0;
  bool operator==(const Model&) const = default;
};

std::string Describe(Lsn begin, Lsn end, TimePoint time, std::uint32_t xid, std::uint32_t database,
                     bool committed, const std::vector<std::uint32_t>& subtransactions) {
  return fmt::format("{} {} {} {} {} {} {}", FormatLsn(begin), FormatLsn(end),
                     time.time_since_epoch().count(), xid, database, committed,
                     fmt::join(subtransactions, ","));
}

Model ModelOf(const SegmentIndex& index) {
  Model model;
  for (const BlockRun& run : RunsOf(index.blocks)) {
    for (std::uint64_t i = 0; i < run.count; ++i) {
      EXPECT_TRUE(model.blocks[run.fork].insert(static_cast<std::uint32_t>(run.first + i)).second);
    }
  }
  const IndexedTransactions transactions = TransactionsOf(index);
  for (const IndexedTouch& touch : transactions.touches) {
    EXPECT_TRUE(model.touches.emplace(std::pair(touch.xid, touch.file), touch.blocks).second);
  }
  EXPECT_TRUE(std::ranges::is_sorted(transactions.touches, {}, [](const IndexedTouch& touch) {
    return std::pair(touch.xid, touch.file);
  }));
  for (const IndexedEnd& end : transactions.ends) {
    model.ends.push_back(Describe(end.begin, end.end, end.time, end.xid, end.database,
                                  end.committed, end.subtransactions));
  }
  model.records = index.summary.records;
  for (const MinuteOfWal& minute : index.summary.minutes) {
    model.bytes += minute.bytes;
  }
  model.events = EventsOf(index).size();
  return model;
}

WrittenRecord RandomChange(std::mt19937_64& random) {
  WrittenRecord record{
      .xid = static_cast<std::uint32_t>(random() % 2 == 0 ? random() % 50 : random())};
  const std::size_t blocks = 1 + (random() % 5 == 0 ? random() % 33 : 0);
  for (std::size_t i = 0; i < blocks; ++i) {
    record.blocks.push_back(
        {.id = static_cast<std::uint8_t>(i),
         .flags = static_cast<std::uint8_t>(random() % 4),
         .file = {1663, static_cast<std::uint32_t>(random() % 3),
                  static_cast<std::uint32_t>(16384 + (random() % 4 == 0 ? random() % 1000 : 1))},
         .block = static_cast<std::uint32_t>(random() % 3 == 0 ? random() % 0xFFFF'FFFF
                                                               : random() % 300)});
  }
  record.main_data.resize(random() % 50 == 0 ? random() % 20'000 : random() % 60);
  return record;
}

WrittenEnd RandomEnd(std::mt19937_64& random) {
  WrittenEnd end{.xid = static_cast<std::uint32_t>(random() % 5000),
                 .time = kNoon + std::chrono::microseconds(random() % 100'000'000'000),
                 .committed = random() % 4 != 0,
                 .database = static_cast<std::uint32_t>(random() % 2)};
  end.subtransactions.resize(random() % 4 == 0 ? random() % 5 : 0);
  for (std::uint32_t& xid : end.subtransactions) {
    xid = static_cast<std::uint32_t>(random());
  }
  end.dropped.resize(random() % 20 == 0 ? random() % 3 : 0, kAccounts);
  return end;
}

TEST(SegmentIndex, SaysWhatANaiveReaderSaysOfAnyWal) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    std::mt19937_64 random(seed);
    WalWriter wal({});
    std::vector<Model> expected(3);
    const std::size_t size = 2 * kIndexedSegment + random() % kIndexedSegment;
    while (wal.bytes().size() < size) {
      const bool is_end = random() % 5 == 0;
      const WrittenEnd end = RandomEnd(random);
      const WrittenRecord record = is_end ? EndRecord(end) : RandomChange(random);
      const Lsn begin = wal.Add(record);
      const Lsn behind{(wal.position().value + 7) & ~7ULL};
      const std::uint64_t segment = (begin.value - wal.options().begin.value) / kIndexedSegment;
      if (segment != (behind.value - 1 - wal.options().begin.value) / kIndexedSegment) {
        continue;  // on a border
      }
      Model& model = expected[segment];
      ++model.records;
      model.bytes += EncodeRecord(record).size();
      for (const WrittenBlock& block : record.blocks) {
        model.blocks[{block.file, block.flags}].insert(block.block);
        ++model.touches[{record.xid, block.file}];
      }
      if (is_end) {
        model.ends.push_back(Describe(begin, behind, end.time, end.xid, end.database, end.committed,
                                      end.subtransactions));
        model.events += end.dropped.empty() ? 0 : 1;
      }
    }
    const std::size_t piece = 1 + random() % 100'000;
    const std::vector<SegmentIndex> indexes = IndexAll(wal, piece);
    ASSERT_THAT(indexes, SizeIs(3));
    for (std::size_t i = 0; i < indexes.size(); ++i) {
      const Model model = ModelOf(indexes[i]);
      EXPECT_TRUE(model.blocks == expected[i].blocks) << seed << " " << i;
      EXPECT_TRUE(model.touches == expected[i].touches) << seed << " " << i;
      EXPECT_EQ(model.ends, expected[i].ends) << seed << " " << i;
      EXPECT_EQ(model.records, expected[i].records);
      EXPECT_EQ(model.bytes, expected[i].bytes);
      EXPECT_EQ(model.events, expected[i].events);
      Stored(indexes[i].summary);
    }
  }
}

// Records that servers of each version have written (make_fact_records.sh).
struct ServersRecord {
  int version;
  std::string_view text;  // as pg_waldump prints it
  std::string_view bytes;
};
constexpr ServersRecord kServersRecords[] = {
#include "core/wal/fact_records.inc"
};

TEST(SegmentIndex, KnowsWhatServersWrite) {
  for (const auto& [version, magic] :
       {std::pair(15, 0xD110), std::pair(17, 0xD116), std::pair(18, 0xD118)}) {
    WalWriter wal({.magic = static_cast<std::uint16_t>(magic)});
    std::size_t events = 0;
    std::vector<std::string> ends;
    for (const ServersRecord& servers : kServersRecords) {
      const Bytes bytes = FromHex(servers.bytes).value();
      WalRecordHeaders headers;
      ASSERT_EQ(headers.Parse(bytes), WalRecordHeaders::Outcome::kWhole);
      WalRecord& record = headers.record();
      record.main_data = ByteView(bytes).subspan(headers.main_data_begin());
      const WalFact fact = ReadWalFact(record, version);
      const bool is_switch = std::holds_alternative<SegmentSwitched>(fact);
      if (servers.version != version || is_switch || std::holds_alternative<UnknownFact>(fact)) {
        continue;
      }
      wal.AddBytes(bytes);
      if (const auto* const end = std::get_if<TransactionEnd>(&fact)) {
        ends.push_back(fmt::format("{} {} {} {} {}", end->time.time_since_epoch().count(), end->xid,
                                   end->database, end->committed, end->prepared));
        events += end->dropped.empty() ? 0 : 1;
      } else if (!std::holds_alternative<NothingMore>(fact)) {
        ++events;
      }
    }
    const SegmentIndex index = IndexOfOne(wal);
    EXPECT_FALSE(index.summary.doubt) << index.summary.doubt->reason;
    EXPECT_EQ(index.summary.version, version);
    EXPECT_EQ(EventsOf(index).size(), events);
    std::vector<std::string> indexed;
    for (const IndexedEnd& end : TransactionsOf(index).ends) {
      indexed.push_back(fmt::format("{} {} {} {} {}", end.time.time_since_epoch().count(), end.xid,
                                    end.database, end.committed, end.prepared));
    }
    EXPECT_EQ(indexed, ends);
    EXPECT_GT(ends.size(), 3U);
    EXPECT_GT(events, 5U);
  }
}

TEST(SegmentIndex, MemoryIsASmallMultipleOfTheSegment) {
  WalWriter wal({});
  const std::uint32_t blocks = FillWithBlocks(wal);
  const Bytes whole = wal.Whole();
  SegmentIndexer indexer;
  const MemoryGauge gauge;
  indexer.Begin(IndexOptionsFor(wal));
  indexer.Feed(whole);
  const SegmentIndex index = indexer.Finish();
  EXPECT_TRUE(!MemoryGauge::meaningful() || gauge.grown_bytes() < 24 * kIndexedSegment)
      << gauge.grown_bytes();
  EXPECT_EQ(RunsOf(index.blocks).size(), blocks);
}

}  // namespace
}  // namespace veza
