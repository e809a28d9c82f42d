// WAL along the way that recovery takes: segment by segment, over switches of timelines, with the
// ends of transactions and the events in it.
//
// What an index object says of a segment is used if the listing of the WAL tells the same stored
// size. A segment without such an index is fetched and read, with its CRCs.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"
#include "core/wal_index/segment_index.h"

namespace veza {

// Not thread-safe: it keeps what it has read last. Memory: a few directories of index objects, and
// what is known of a few segments.
class WalWay {
 public:
  struct Options {
    // So many segments that no index covers are fetched. Then IsExhausted(), and every function
    // that needs a further one fails with kFailedPrecondition.
    std::size_t most_read = 256;
  };
  struct Place {
    TimelineId timeline = 0;
    SegmentNumber number = 0;
    Lsn end;  // records that begin here or behind it do not count
  };

  // `pieces` as WalOnTheWay() returns them. Lists the index objects of their timelines.
  static Result<WalWay> Open(const Repository& repository, const Identity& identity,
                             const std::vector<WalPiece>& pieces, const Options& options);
  ~WalWay();
  WalWay(WalWay&&) noexcept;
  WalWay& operator=(WalWay&&) noexcept;

  std::size_t size() const;  // segments
  Place At(std::size_t index) const;
  // Of the first segment that is not before `number`; size() if there is none.
  std::size_t IndexOf(SegmentNumber number) const;
  std::uint64_t segment_size() const;

  // Errors of the functions below: kDataCorrupted when WAL cannot be read, kNotFound when it has
  // been removed meanwhile, those of the store, and see Options.
  Result<SegmentSummary> Summary(std::size_t index);
  // Those whose records begin in the segment, in the order of WAL. One that goes on in the segments
  // behind it is put together; it does not count if it is not whole there.
  Result<std::vector<IndexedEnd>> Ends(std::size_t index);
  Result<std::vector<IndexedEvent>> Events(std::size_t index);
  // The same as Ends(), with the relations that were touched. A record that goes on in the next
  // segment touches none.
  Result<IndexedTransactions> Transactions(std::size_t index);
  // Where the first record begins that is not before `lsn` and is whole on the way.
  Result<std::optional<Lsn>> FirstRecordFrom(Lsn lsn);

  bool IsExhausted() const;
  // How many segments had to be fetched because no index covers them.
  std::size_t fetched() const;

 private:
  WalWay();
  class State;
  std::unique_ptr<State> state_;
};

// Whether the record that begins in the segment and goes on behind it may be the end of a
// transaction. The summary does not count it.
bool HeadMayBeEnd(const SegmentSummary& summary);
// Whether a transaction may have ended in the segment.
bool MayHaveEnds(const SegmentSummary& summary);
// Whether WAL ends in the segment, although it is not full: recovery goes on to no later segment.
bool EndsWal(const SegmentSummary& summary);

// The last commit on the way whose record does not begin before `from`. nullopt if there is none.
// Begins at the end, and opens no more than it needs.
Result<std::optional<IndexedEnd>> LastCommit(WalWay& way, Lsn from);

}  // namespace veza
