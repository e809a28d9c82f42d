// WAL segments and their indexes, for tests of what keeps indexes.
#pragma once

#include "core/codec/codec_fixtures.h"
#include "core/repository/test_repository.h"
#include "core/wal/wal_writer.h"
#include "core/wal_index/segment_index.h"

namespace veza {

// A segment with a commit and some changed blocks, which depend on its number.
inline Bytes TestSegment(SegmentNumber number, TimelineId timeline = 1) {
  WalWriter writer({.begin = Lsn{number * kTestSegmentSize},
                    .segment_size = kTestSegmentSize,
                    .system_identifier = kTestSystem,
                    .timeline = timeline});
  for (std::uint32_t block = 0; block < 20; ++block) {
    writer.Add({.manager = 10,
                .xid = 700,
                .blocks = {{.file = {1663, 5, 16384},
                            .block = block * static_cast<std::uint32_t>(number % 100 + 1),
                            .data = Bytes(100)}},
                .main_data = Bytes(3)});
  }
  Bytes commit;
  PutNumber(commit, static_cast<std::int64_t>(800'000'000'000'000 + number));
  writer.Add({.manager = 1, .xid = 700, .main_data = commit});
  writer.Switch();
  return writer.Whole();
}

// As from a segment that was archived; its digest is not the true one.
inline SegmentIndex TestIndex(SegmentNumber number, TimelineId timeline = 1) {
  SegmentIndexer indexer;
  indexer.Begin({.timeline = timeline,
                 .number = number,
                 .segment_size = kTestSegmentSize,
                 .system_identifier = kTestSystem});
  const Bytes segment = TestSegment(number, timeline);
  indexer.Feed(segment);
  SegmentIndex index = indexer.Finish();
  index.summary.digest = DigestContent(DigestMethod::kSha256, nullptr, segment);
  index.summary.stored = 1000 + number;
  return index;
}

}  // namespace veza
