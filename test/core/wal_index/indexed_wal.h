// Made-up WAL, cut into segments, and its index.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "core/wal/wal_writer.h"
#include "core/wal_index/segment_index.h"

namespace veza {

inline constexpr std::uint64_t kIndexedSegment = std::uint64_t{1} << 20;

inline SegmentIndexer::Options IndexOptionsFor(const WalWriter& wal, std::size_t segment = 0) {
  const WalWriter::Options& options = wal.options();
  return {.timeline = options.timeline,
          .number = options.begin.value / options.segment_size + segment,
          .segment_size = options.segment_size,
          .system_identifier = options.system_identifier};
}

inline SegmentIndex IndexOf(ByteView segment, const SegmentIndexer::Options& options,
                            std::size_t piece = ~std::size_t{0}) {
  static SegmentIndexer indexer;  // its memory is used again, as in the server
  indexer.Begin(options);
  for (; !segment.empty(); segment = segment.subspan(std::min(piece, segment.size()))) {
    indexer.Feed(segment.first(std::min(piece, segment.size())));
  }
  return indexer.Finish();
}

// Of each segment of the WAL by itself.
inline std::vector<SegmentIndex> IndexAll(const WalWriter& wal,
                                          std::size_t piece = ~std::size_t{0}) {
  const Bytes whole = wal.Whole();
  const std::size_t size = wal.options().segment_size;
  std::vector<SegmentIndex> indexes;
  for (std::size_t at = 0; at < whole.size(); at += size) {
    indexes.push_back(
        IndexOf(ByteView(whole).subspan(at, size), IndexOptionsFor(wal, at / size), piece));
  }
  return indexes;
}

struct BlockRun {
  RelationFork fork;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  bool operator==(const BlockRun&) const = default;
};

inline std::vector<BlockRun> RunsOf(ByteView blocks) {
  std::vector<BlockRun> runs;
  const Status read = ReadIndexedBlocks(
      blocks, [&](const RelationFork& fork, std::uint32_t first, std::uint32_t count) {
        runs.push_back({fork, first, count});
        return Ok();
      });
  EXPECT_TRUE(read.has_value()) << read.error().message;
  return runs;
}

inline IndexedTransactions TransactionsOf(const SegmentIndex& index) {
  Result<IndexedTransactions> read = ReadIndexedTransactions(index.transactions, index.summary);
  EXPECT_TRUE(read.has_value()) << read.error().message;
  return read.has_value() ? std::move(*read) : IndexedTransactions();
}

inline std::vector<IndexedEvent> EventsOf(const SegmentIndex& index) {
  Result<std::vector<IndexedEvent>> read = ReadIndexedEvents(index.events);
  EXPECT_TRUE(read.has_value()) << read.error().message;
  return read.has_value() ? std::move(*read) : std::vector<IndexedEvent>();
}

// Records that the server writes.
inline std::int64_t PostgresTime(TimePoint time) {
  return time.time_since_epoch().count() - 946'684'800'000'000;
}

inline WrittenRecord Change(std::uint32_t xid, const RelationFile& file, std::uint32_t block,
                            std::uint8_t fork = kMainFork) {
  return {.xid = xid, .blocks = {{.flags = fork, .file = file, .block = block}}};
}

// Fills a segment with nothing but the shortest references to blocks. Returns how many.
inline std::uint32_t FillWithBlocks(WalWriter& wal) {
  WrittenRecord record = Change(1, {1663, 5, 16384}, 0);
  std::uint32_t blocks = 0;
  for (std::uint8_t id = 1; id < 33; ++id) {
    record.blocks.push_back({.id = id, .flags = 0x80, .block = 0});
  }
  while (wal.bytes().size() + 1000 < wal.options().segment_size) {
    record.xid = blocks;
    for (WrittenBlock& block : record.blocks) {
      block.block = 2 * ++blocks;
    }
    wal.Add(record);
  }
  return blocks;
}

struct WrittenEnd {
  std::uint32_t xid = 0;
  TimePoint time{};
  bool committed = true;
  std::uint32_t database = 0;
  std::vector<std::uint32_t> subtransactions{};
  std::vector<RelationFile> dropped{};
};

inline WrittenRecord EndRecord(const WrittenEnd& end) {
  const std::uint32_t info = (end.database != 0 ? 1 : 0) | (end.subtransactions.empty() ? 0 : 2) |
                             (end.dropped.empty() ? 0 : 4);
  WrittenRecord record{
      .manager = kTransactionManager,
      .info = static_cast<std::uint8_t>((end.committed ? 0 : 0x20) | (info != 0 ? 0x80 : 0)),
      .xid = end.xid};
  PutNumber(record.main_data, static_cast<std::uint64_t>(PostgresTime(end.time)));
  if (info != 0) {
    PutNumber(record.main_data, info);
  }
  if (end.database != 0) {
    PutNumber(record.main_data, end.database);
    PutNumber(record.main_data, std::uint32_t{1663});
  }
  if (!end.subtransactions.empty()) {
    PutNumber(record.main_data, static_cast<std::uint32_t>(end.subtransactions.size()));
    for (const std::uint32_t xid : end.subtransactions) {
      PutNumber(record.main_data, xid);
    }
  }
  if (!end.dropped.empty()) {
    PutNumber(record.main_data, static_cast<std::uint32_t>(end.dropped.size()));
    for (const RelationFile& file : end.dropped) {
      PutNumber(record.main_data, file.tablespace);
      PutNumber(record.main_data, file.database);
      PutNumber(record.main_data, file.relation);
    }
  }
  return record;
}

}  // namespace veza
