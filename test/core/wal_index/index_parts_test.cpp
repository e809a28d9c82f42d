// The readers of an index's parts, on bytes that nobody wrote so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/codec/varint.h"
#include "core/wal_index/event_lines.h"
#include "core/wal_index/indexed_wal.h"
#include "core/wal_index/summary_json.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kMost = ~std::uint64_t{0};
constexpr std::uint64_t kXids = 0xFFFF'FFFF;

Bytes Numbers(std::initializer_list<std::uint64_t> numbers) {
  Bytes bytes;
  for (const std::uint64_t number : numbers) {
    PutVarint(bytes, number);
  }
  return bytes;
}

bool ReadsBlocks(ByteView bytes) {
  const Status read = ReadIndexedBlocks(
      bytes, [](const RelationFork& fork, std::uint32_t first, std::uint32_t count) {
        EXPECT_LE(fork.fork, kInitFork);
        EXPECT_LE(std::uint64_t{first} + count, 0xFFFF'FFFFU);
        EXPECT_GT(count, 0U);
        return Ok();
      });
  EXPECT_TRUE(read || read.error().code == ErrorCode::kDataCorrupted);
  return read.has_value();
}

SegmentSummary OneMegabyte() {
  SegmentSummary summary;
  summary.timeline = 1;
  summary.number = 7;
  summary.segment_size = kIndexedSegment;
  return summary;
}

bool ReadsTransactions(ByteView bytes) {
  const auto read = ReadIndexedTransactions(bytes, OneMegabyte());
  EXPECT_TRUE(read || read.error().code == ErrorCode::kDataCorrupted);
  if (read) {
    EXPECT_LE(read->touches.size(), kIndexedSegment / 20);
  }
  return read.has_value();
}

TEST(IndexedBlocks, RefusesWhatBreaksItsRules) {
  EXPECT_TRUE(ReadsBlocks({}));
  EXPECT_TRUE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2, 0})));  // block 0
  EXPECT_TRUE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2, 4, 0, 1663, 5, 9, 1, 2, 0})));
  EXPECT_TRUE(ReadsBlocks(Numbers({1663, 5, 9, 0, 3, 0xFFFF'FFFD, 0})));   // all blocks
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 3, 0xFFFF'FFFE, 0})));  // one more
  EXPECT_TRUE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2 * kXids, 0})));        // the last block
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2 * kXids + 2, 0})));
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2, 2, 0})));  // adjacent runs
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 1, 0, 0})));  // no step
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 0})));        // no block
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2})));        // no end
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 4, 2, 0})));     // no such fork
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, kXids + 1, 0, 2, 0})));
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2, 0, 1663, 5, 9, 0, 2, 0})));  // twice
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 2, 0, 1663, 5, 8, 0, 2, 0})));  // out of order
  EXPECT_FALSE(ReadsBlocks(Numbers({1663, 5, 9, 0, 3, kMost, 0})));
}

// ends; begin, size, time, xid, kind; relations; shapes; touches.
TEST(IndexedTransactions, RefusesWhatBreaksItsRules) {
  EXPECT_TRUE(ReadsTransactions({}));
  EXPECT_TRUE(ReadsTransactions(Numbers({0, 0, 0, 0})));
  EXPECT_TRUE(ReadsTransactions(Numbers({1, 5, 5, kMost, kXids, 1, 0, 0, 0})));
  EXPECT_TRUE(ReadsTransactions(Numbers({1, 5, 5, 0, 0, 13, 1, 2, 4, kXids, 0, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, 5, 0, 0, 16, 0, 0, 0})));    // no such kind
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, 5, 0, 0, 4, 0, 0, 0, 0})));  // database 0
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, 5, 0, 0, 8, 0, 0, 0, 0})));  // no subtransactions
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, 2, 0, 0, 1, 0, 0, 0})));     // too short
  EXPECT_FALSE(ReadsTransactions(Numbers({1, kIndexedSegment / 8, 5, 0, 0, 1, 0, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, kIndexedSegment / 8, 0, 0, 1, 0, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({2, 5, 4, 5, 5, 0, 0, 0, 0, 1, 1, 0, 0, 0})));  // overlap
  EXPECT_FALSE(ReadsTransactions(Numbers({1, 5, 5, 0, kXids + 1, 1, 0, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 0, 0, 0, 0})));  // something behind
  EXPECT_FALSE(ReadsTransactions(Numbers({kMost})));
  EXPECT_FALSE(ReadsTransactions(Numbers({100'000, 1, 1, 1})));

  EXPECT_TRUE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 0, 0, 2, 0, kXids, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 0, 0, 2, 1, kXids, 0, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 0, 0, 2, 1, 0, 0, 0})));  // twice
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 0, 0, 1, 1, 1})));  // no shape
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 0, 0, 0})));        // not used
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 1, 1, 0, 1, 1, 0})));  // no relation
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 2, 0, 0, 0, 0, 1, 1, 0})));
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 1, 1663, 5, 9, 1, 0, 1, 1, 0, 0})));  // empty shape
  EXPECT_FALSE(ReadsTransactions(Numbers({0, 2, 1663, 5, 9, 1663, 5, 9, 1, 1, 0, 0, 1, 1, 0})));
}

// A few bytes that would become gigabytes.
TEST(IndexedTransactions, RefusesMoreTouchesThanTheSegmentHasRoomFor) {
  constexpr std::uint64_t kRelations = 1000;
  const auto made = [&](std::uint64_t xids) {
    Bytes bytes = Numbers({0, kRelations});
    for (std::uint64_t i = 0; i < kRelations; ++i) {
      for (const std::uint64_t number : {std::uint64_t{1663}, std::uint64_t{5}, i}) {
        PutVarint(bytes, number);
      }
    }
    PutVarint(bytes, 1);
    PutVarint(bytes, kRelations);
    for (std::uint64_t i = 0; i < 2 * kRelations; ++i) {
      PutVarint(bytes, 0);
    }
    PutVarint(bytes, xids);
    for (std::uint64_t i = 0; i < xids; ++i) {
      PutVarint(bytes, 1);
    }
    for (std::uint64_t i = 0; i < xids; ++i) {
      PutVarint(bytes, 0);
    }
    return bytes;
  };
  EXPECT_TRUE(ReadsTransactions(made(kIndexedSegment / 20 / kRelations)));
  EXPECT_FALSE(ReadsTransactions(made(kIndexedSegment / 20 / kRelations + 1)));
  EXPECT_FALSE(ReadsTransactions(made(1'000'000)));
}

// Some of everything.
SegmentIndex Sample() {
  WalWriter wal({});
  const TimePoint noon{std::chrono::seconds(1'795'348'800)};
  for (std::uint32_t i = 0; i < 40; ++i) {
    wal.Add(Change(100 + i % 7, {1663, 5, 16384 + i % 5}, i * i));
    wal.Add(EndRecord({.xid = 100 + i % 7,
                       .time = noon + std::chrono::seconds(i * 20),
                       .database = i % 2,
                       .subtransactions = std::vector<std::uint32_t>(i % 3, 300 + i)}));
  }
  return IndexAll(wal).front();
}

TEST(IndexParts, AreRefusedWhenTheyAreCutOff) {
  const SegmentIndex index = Sample();
  for (std::size_t size = 1; size < index.transactions.size(); ++size) {
    EXPECT_FALSE(ReadsTransactions(ByteView(index.transactions).first(size))) << size;
  }
  // The list of blocks may end behind a relation.
  std::size_t whole = 0;
  for (std::size_t size = 0; size < index.blocks.size(); ++size) {
    whole += ReadsBlocks(ByteView(index.blocks).first(size)) ? 1 : 0;
  }
  EXPECT_EQ(whole, 5U);
}

TEST(IndexParts, AnyMaximalNumberEndsInAnErrorOrIsRead) {
  const SegmentIndex index = Sample();
  const Bytes maximal = Numbers({kMost});
  const Bytes maximal32 = Numbers({kXids});
  for (const Bytes* const part : {&index.blocks, &index.transactions}) {
    for (std::size_t at = 0; at < part->size(); ++at) {
      for (const Bytes* const number : {&maximal, &maximal32}) {
        Bytes changed(part->begin(), part->begin() + static_cast<std::ptrdiff_t>(at));
        changed.insert(changed.end(), number->begin(), number->end());
        changed.insert(changed.end(), part->begin() + static_cast<std::ptrdiff_t>(at) + 1,
                       part->end());
        ReadsBlocks(changed);
        ReadsTransactions(changed);
      }
    }
  }
}

IndexedEvent Event(WalFact fact) {
  return {.begin = Lsn{0x700028}, .end = Lsn{0x700060}, .xid = 12, .fact = std::move(fact)};
}

TEST(IndexedEvents, EachKindIsReadAsItWasWritten) {
  const RelationFile file{1663, 5, 16384};
  const TimePoint time{std::chrono::microseconds(1'795'348'800'000'001)};
  const std::vector<WalFact> facts = {
      TransactionEnd{.committed = true,
                     .prepared = true,
                     .time = time,
                     .xid = 3,
                     .database = 5,
                     .subtransactions = {},
                     .dropped = {file, {1664, 0, 7}},
                     .gid = "a \"gid\""},
      TransactionPrepared{.time = time, .xid = 3, .database = 5, .gid = "\xFF\xFE"},
      RelationCreated{file, kInitFork},
      RelationTruncated{.file = file, .blocks = 0xFFFF'FFFE, .main = true, .free_space_map = true},
      DatabaseCopied{1, 2, 3, 4},
      DatabaseCreated{1, 2},
      DatabaseDropped{1, {2, 3}},
      TablespaceCreated{7, "/srv/ts"},
      TablespaceDropped{7},
      RestorePointMade{"before \xE4nderung", TimePoint::max()},
      CheckpointMade{.shutdown = true,
                     .redo = Lsn{kMost},
                     .timeline = 2,
                     .previous_timeline = 1,
                     .full_page_writes = true,
                     .time = TimePoint::min(),
                     .wal_level = WalLevel::kLogical},
      CheckpointMade{},
      CheckpointBegun{WalLevel::kMinimal},
      ParametersChanged{WalLevel::kReplica, true, false, -1, 2, 3, 4, 5},
      FullPageWritesChanged{true},
      ChecksumsChanged{3},
      RecoveryEnded{.time = time, .timeline = 3, .previous_timeline = 2, .wal_level = {}},
      SegmentSwitched{},
      RecordOverwritten{Lsn{1}, time},
  };
  for (const WalFact& fact : facts) {
    ASSERT_TRUE(IsIndexedEvent(fact));
    Bytes line;
    ASSERT_TRUE(PutEvent(Event(fact), line));
    const auto read = ReadIndexedEvents(line);
    ASSERT_TRUE(read.has_value()) << AsText(line) << read.error().message;
    ASSERT_EQ(read->size(), 1U);
    EXPECT_EQ((*read)[0].begin, Lsn{0x700028});
    EXPECT_EQ((*read)[0].end, Lsn{0x700060});
    EXPECT_EQ((*read)[0].xid, 12U);
    EXPECT_EQ((*read)[0].fact.index(), fact.index());
    Bytes again;
    ASSERT_TRUE(PutEvent((*read)[0], again));
    EXPECT_EQ(AsText(again), AsText(line));
    // Each member is needed, but for those that may be wanting.
    Json json = ParseJson(AsText(line)).value();
    for (const auto& [name, value] : json.members()) {
      Json less = json;
      less.erase(name);
      const std::string text = less.Print() + "\n";
      EXPECT_EQ(ReadIndexedEvents(AsBytes(text)).has_value(),
                name == "wal_level"
                    ? fact.index() != WalFact(CheckpointBegun()).index() &&
                          fact.index() != WalFact(ParametersChanged()).index()
                    : name.starts_with("gid") || name == "location" || name.starts_with("name"))
          << text;
    }
  }
  EXPECT_FALSE(IsIndexedEvent(NothingMore{}));
  EXPECT_FALSE(IsIndexedEvent(UnknownFact{}));
  EXPECT_FALSE(IsIndexedEvent(TransactionEnd{}));
}

TEST(IndexedEvents, RefusesWhatBreaksItsRules) {
  Bytes line;
  ASSERT_TRUE(PutEvent(Event(SegmentSwitched{}), line));
  EXPECT_TRUE(ReadIndexedEvents(line).has_value());
  for (std::size_t size = 1; size < line.size(); ++size) {
    EXPECT_FALSE(ReadIndexedEvents(ByteView(line).first(size)).has_value()) << size;
  }
  Bytes twice = line;
  twice.insert(twice.end(), line.begin(), line.end());
  EXPECT_FALSE(ReadIndexedEvents(twice).has_value());
  const std::string place = R"({"begin":"0/1","end":"0/2","xid":1,)";
  for (const char* const bad :
       {R"("event":"nothing"})", R"("event":7})", "}",
        R"("event":"relation_created","tablespace":1,"database":2,"relation":3,"fork":4})",
        R"("event":"relation_created","tablespace":1,"database":2,"relation":4294967296,"fork":0})",
        R"("event":"database_dropped","database":1,"tablespaces":[-1]})",
        R"("event":"database_dropped","database":1,"tablespaces":{}})",
        R"("event":"checkpoint_begun","wal_level":3})",
        R"("event":"transaction_prepared","time":1.5,"ended":1,"database":1})",
        R"("event":"transaction_prepared","time":1,"ended":1,"database":1,"gid_base64":"*"})"}) {
    const auto read = ReadIndexedEvents(AsBytes(place + bad + "\n"));
    ASSERT_FALSE(read.has_value()) << bad;
    EXPECT_EQ(read.error().code, ErrorCode::kDataCorrupted);
  }
  for (const char* const dropped : {R"({"1663":[1]})", R"({"1663/":[1]})", R"({"1663/5 ":[1]})",
                                    R"({"1663/5":1})", R"({"1663/5":["1"]})", "[]"}) {
    const std::string text = fmt::format(
        R"({}"event":"transaction_ended","committed":true,"prepared":false,"time":1,"ended":1,"database":0,"dropped":{}}})",
        place, dropped);
    EXPECT_FALSE(ReadIndexedEvents(AsBytes(text + "\n")).has_value()) << text;
  }
}

TEST(IndexSummary, RefusesWhatBreaksItsRules) {
  const Json good = SummaryToJson(Sample().summary);
  const auto reads = [](const Json& json) {
    SegmentSummary summary = OneMegabyte();
    return SummaryFromJson(json, "index", summary).has_value();
  };
  EXPECT_TRUE(reads(good));
  const auto reads_with = [&](const char* name, Json value) {
    Json changed = good;
    changed[name] = std::move(value);
    return reads(changed);
  };
  EXPECT_TRUE(reads_with("unknown", 1));
  EXPECT_FALSE(reads_with("segment", "000000010000000000000007x"));
  EXPECT_FALSE(reads_with("segment", "000000020000000000000007"));
  EXPECT_FALSE(reads_with("segment", 7));
  EXPECT_FALSE(reads_with("ends", "never"));
  EXPECT_FALSE(reads_with("begin", "x"));
  EXPECT_FALSE(reads_with("stored", -1));
  EXPECT_FALSE(reads_with("sha256", "00"));
  EXPECT_FALSE(reads_with("gmac", "00112233445566778899aabbccddeeff"));
  EXPECT_FALSE(reads_with("minutes", Json::Object()));
  EXPECT_FALSE(reads_with("doubts", 1));
  Json minutes = Json::Array();
  for (int i = 0; i < 257; ++i) {
    Json& minute = minutes.push_back(Json::Array());
    for (int j = 0; j < 6; ++j) {
      minute.push_back(i);
    }
  }
  EXPECT_FALSE(reads_with("minutes", minutes));
  minutes = Json::Array();
  minutes.push_back(Json::Array());
  EXPECT_FALSE(reads_with("minutes", minutes));
  Json head = {{"begin", "0/700028"}, {"length", 100}, {"taken", 8}, {"kept", "AAAAAAAAAAA="}};
  EXPECT_TRUE(reads_with("head", head));
  head["kept"] = ToBase64(Bytes(kIndexLargestKept + 1));
  EXPECT_FALSE(reads_with("head", head));
  EXPECT_FALSE(reads_with("tail", head));
  for (const auto& [name, value] : good.members()) {
    Json less = good;
    less.erase(name);
    EXPECT_EQ(reads(less), name == "last_end" || name == "earliest_end") << name;
  }
}

}  // namespace
}  // namespace veza
