// What one WAL segment says of the cluster: which blocks it changes, how transactions ended, and
// the events of core/wal/wal_facts.h. It is made from the bytes of the segment alone, and stored in
// an index object (index_object.h, FORMAT.md section 15).
//
// An index is derived data. It names the digest of the segment that it was made from, and can be
// made again. What it does not know is a doubt, never an omission: a backup that relies on an index
// with a doubt reads everything.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/codec/content_digest.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_reader.h"
#include "core/wal/wal_record.h"

namespace veza {

// The version of what this code takes from WAL. It is in the name of an index object. It rises when
// a newer reader would take more, or other things, from the same segment.
inline constexpr std::uint32_t kWalIndexVersion = 1;

// Limits. A segment of which a part would be larger has a doubt in place of it.
inline constexpr std::size_t kIndexLargestKept = 4096;       // of a record across a border
inline constexpr std::size_t kIndexMostMinutes = 256;        // of a segment
inline constexpr std::size_t kIndexMostEncoded = 16U << 20;  // each part of a segment, encoded

struct RelationFork {
  RelationFile file;
  std::uint8_t fork = kMainFork;
  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14
  auto operator<=>(const RelationFork&) const = default;
};

// A fact with its place. TransactionEnd is an event only if it drops relations; all ends of
// transactions are in IndexedTransactions.
struct IndexedEvent {
  Lsn begin;  // of its record
  Lsn end;
  std::uint32_t xid = 0;
  WalFact fact;
};

// The end of a transaction, without what it drops, which is an event.
struct IndexedEnd {
  Lsn begin;  // of the record: what recovery_target_lsn takes
  Lsn end;
  TimePoint time{};
  std::uint32_t xid = 0;
  std::uint32_t database = 0;
  bool committed = false;
  bool prepared = false;
  std::vector<std::uint32_t> subtransactions;
};

// How many blocks of a relation (all forks; a block counts once for each record) a transaction has
// changed in this segment. `xid` is that of the record: of a subtransaction perhaps. 0: none.
struct IndexedTouch {
  std::uint32_t xid = 0;
  RelationFile file;
  std::uint64_t blocks = 0;
};

struct IndexedTransactions {
  std::vector<IndexedEnd> ends;       // in the order of WAL
  std::vector<IndexedTouch> touches;  // ordered by xid and relation
};

// What was written in one minute of the server's clock, by the ends of transactions: the bytes
// count for the minute of the last end before them.
struct MinuteOfWal {
  std::int64_t minute = 0;  // since 1970; bytes before the first end of the segment count for its
                            // minute; 0 if there is no end in the segment
  std::uint64_t commits = 0;
  std::uint64_t aborts = 0;
  std::uint64_t bytes = 0;        // of records that lie whole in the segment
  std::uint64_t images = 0;       // full-page images
  std::uint64_t image_bytes = 0;  // as stored in WAL
};

struct WalDoubt {
  Lsn lsn;
  std::string reason;  // a clause without its first capital
};

// What the directory of an index object says of a segment. Everything that crosses a border is in
// `head` and `tail` only: JoinBorder() puts it together.
struct SegmentSummary {
  TimelineId timeline = 0;
  SegmentNumber number = 0;
  std::uint64_t segment_size = 0;
  ContentDigest digest{};    // of the segment, as in the attributes of its WAL object
  std::uint64_t stored = 0;  // the size of its WAL object. A listing tells that one, too
  int version = 0;           // PostgreSQL's major version
  TimelineId last_page_timeline = 0;
  Lsn begin;                    // of the first record that begins in the segment; 0 if none does
  Lsn end;                      // WalReader::end()
  WalEnd ends = WalEnd::kMore;  // kUnwritten and kDamaged: nothing behind `end` is known
  std::optional<WalTail> tail;
  std::optional<WalHead> head;
  std::uint64_t records = 0;         // that lie whole in the segment
  std::vector<MinuteOfWal> minutes;  // ascending
  // Each of them is of so many minutes: 1, or a power of two if there were more of them than
  // kIndexMostMinutes.
  std::uint64_t minutes_each = 1;
  std::optional<IndexedEnd> last_end;     // the last end in WAL; without subtransactions
  std::optional<TimePoint> earliest_end;  // by time
  std::optional<TimePoint> latest_end;
  std::optional<WalDoubt> doubt;  // that with the smallest LSN
  std::uint64_t doubts = 0;       // how many
};

// The parts, as they are stored (FORMAT.md section 15). Each can be read without the others.
struct SegmentIndex {
  SegmentSummary summary;
  Bytes events;        // empty if there is none
  Bytes blocks;        // likewise
  Bytes transactions;  // likewise
};

// Reads a segment as it comes, and makes its index. Memory: bounded by a small multiple of the
// segment's size. Not thread-safe. Begin() keeps the memory of the segment before.
class SegmentIndexer {
 public:
  struct Options {
    TimelineId timeline = 0;
    SegmentNumber number = 0;
    std::uint64_t segment_size = 0;
    std::uint64_t system_identifier = 0;
    // False for WAL that this server has written itself and has not been read back from elsewhere.
    bool check_crc = true;
    Lsn count_from{};  // what begins before it does not count in SegmentSummary::minutes
  };

  SegmentIndexer();
  ~SegmentIndexer();
  SegmentIndexer(const SegmentIndexer&) = delete;
  SegmentIndexer& operator=(const SegmentIndexer&) = delete;

  void Begin(const Options& options);
  // Never fails: what cannot be read becomes a doubt, or ends the index (SegmentSummary::ends).
  void Feed(ByteView bytes);
  // Without `digest` and `stored`, which the caller knows.
  SegmentIndex Finish();

  // Where WAL with wal_level = minimal begins, as far as Feed() has come.
  std::optional<Lsn> minimal() const;
  // What it keeps for the next segment, in bytes.
  std::size_t memory() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

// The parts, decoded. kDataCorrupted when they break a rule of the format.
using BlockVisitor =
    std::function<Status(const RelationFork& fork, std::uint32_t first, std::uint32_t count)>;
// Visits runs of changed blocks, ordered by relation, fork and block; no block comes twice.
Status ReadIndexedBlocks(ByteView blocks, const BlockVisitor& visit);
Result<IndexedTransactions> ReadIndexedTransactions(ByteView transactions,
                                                    const SegmentSummary& summary);
Result<std::vector<IndexedEvent>> ReadIndexedEvents(ByteView events);

}  // namespace veza
