// Checks whether a recovery to the end of WAL has reached the end of WAL.
//
// PostgreSQL ends such a recovery at the first record that it cannot read, and opens the cluster.
// Usually that is the end, because the rest is not archived yet. But a segment may hold less WAL
// than its name says (a disk has lost pages, it contains a page of a recycled file, or a program
// has written into pg_wal). Then recovery ends in the middle of the segment, and everything after
// it is lost silently.
//
// An archived segment is complete: either it is full, or it ends with a switch, which replay treats
// as a record up to the segment's end. So recovery has ended too early unless it has reached the
// end of the archive, or the next record continues beyond that end.
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

// Reads `length` bytes of WAL from `at`. They lie on one page.
using ReadWal = std::function<Result<Bytes>(Lsn at, std::size_t length)>;

// Whether the record that begins at `at`, where replay has ended, continues beyond `end`, the end
// of the archive. False when there is no record, or when it ends before.
Result<bool> RecordGoesBeyond(Lsn at, Lsn end, std::uint64_t segment_size,
                              std::uint32_t wal_block_size, const ReadWal& read);

struct PlannedEnd {
  Lsn end;  // the first byte that the archive does not hold on the way
  ArchiveMap archive;
};

// The position where recovery will end, given what is archived now. For a plan without a target.
Result<PlannedEnd> PlanEnd(const Repository& repository, const RestorePlan& plan);

// kDataCorrupted when recovery has `reached` less than planned. Segments are fetched into the file
// `scratch`, which need not exist.
Status RequireEnd(const Repository& repository, const RestorePlan& plan, const PlannedEnd& planned,
                  Lsn reached, std::uint32_t wal_block_size, const std::string& scratch);

}  // namespace veza
