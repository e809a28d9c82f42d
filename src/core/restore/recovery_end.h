// Whether a recovery to the end of the WAL has come to the end of the WAL.
//
// PostgreSQL ends such a recovery at the first record that it cannot read, and opens. Mostly this
// is the end: what comes next is not archived yet. But a segment that is as it was stored may hold
// less than its name says (a disk that lost pages, a page of a recycled file, a program that wrote
// into pg_wal); then recovery ends in its middle, and what comes after is lost without a word.
//
// An archived segment is complete: full, or ended by a switch, which replay takes for a record up
// to the segment's end. So recovery has ended too early unless it came to the end of what is
// archived, or the next record goes on beyond that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/archive/archive_map.h"
#include "core/bytes.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// `length` bytes of WAL from `at`, which lie on one page.
using ReadWal = std::function<Result<Bytes>(Lsn at, std::size_t length)>;

// Whether the record that would begin at `at`, where replay has ended, goes on beyond `end`, the
// end of what is archived. False when there is none, or one that ends before.
Result<bool> RecordGoesBeyond(Lsn at, Lsn end, std::uint64_t segment_size,
                              std::uint32_t wal_block_size, const ReadWal& read);

struct PlannedEnd {
  Lsn end;  // the first byte that recovery cannot read, as far as the archive goes
  ArchiveMap archive;
};

// Where recovery will end by what is archived now. For a plan to the end of the WAL.
Result<PlannedEnd> PlanEnd(const Repository& repository, const RestorePlan& plan);

// kDataCorrupted when it has `reached` less. Segments are fetched to the file `scratch`, for which
// there need be nothing yet.
Status RequireEnd(const Repository& repository, const RestorePlan& plan, const PlannedEnd& planned,
                  Lsn reached, std::uint32_t wal_block_size, const std::string& scratch);

}  // namespace veza
