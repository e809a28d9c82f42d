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

// Not thread-safe: it keeps what it has read last, and its own threads open index objects ahead.
// Memory: a few directories of index objects (with Options::reads_events also their events), and
// what is known of a few segments.
class WalWay {
 public:
  struct Options {
    // So many bytes of segments that no index covers are fetched, and at least one segment. Then
    // IsExhausted(), and every function that needs a further one fails with kFailedPrecondition.
    std::uint64_t most_read = std::uint64_t{4} << 30;
    // Events() will be asked for segment after segment: the threads that open index objects ahead
    // read their events, too.
    bool reads_events = false;
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
  // The same, but its minutes count only what begins at `lsn` or behind it. Reads the segment.
  Result<SegmentSummary> SummaryFrom(std::size_t index, Lsn lsn);
  // Those whose records begin in the segment, in the order of WAL. One that goes on in the segments
  // behind it is put together; it does not count if it is not whole there.
  // With `behind`, the segments behind it need not be readable: their error is put there, and the
  // record that goes on does not count.
  Result<std::vector<IndexedEnd>> Ends(std::size_t index);
  Result<std::vector<IndexedEvent>> Events(std::size_t index,
                                           std::optional<Error>* behind = nullptr);
  // The same as Ends(), with the relations that were touched. A record that goes on in the next
  // segment touches none.
  Result<IndexedTransactions> Transactions(std::size_t index,
                                           std::optional<Error>* behind = nullptr);
  // Where the first record begins that is not before `lsn` and is whole on the way.
  Result<std::optional<Lsn>> FirstRecordFrom(Lsn lsn);
  // The first segment from `from` on in which WAL ends (EndsWal()) before recovery leaves it, as
  // far as indexes tell: a segment that none covers is passed over, unless it has been read
  // already. size() if there is none. Opens each index object.
  Result<std::size_t> FirstEnd(std::size_t from);

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
// It is not behind a segment in which WAL ends, if an index tells of that. Segments without an
// index are read from the last one back, and no more of them than needed.
Result<std::optional<IndexedEnd>> LastCommit(WalWay& way, Lsn from);

}  // namespace veza
