// Collects what WAL has changed in an interval, for a backup that reads only that.
//
// For each segment its index is used (core/wal_index), if it names the digest that the WAL object
// has. Where there is none, and for what is not archived yet, WAL itself is read: from pg_wal, or
// from the repository. Segments are read by several threads, in any order. At the end their history
// is looked at (wal_history.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/backup/wal_changes.h"
#include "core/backup/wal_history.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/repository.h"

namespace veza {

struct WalInterval {
  std::uint64_t system_identifier = 0;
  std::uint64_t segment_size = 0;
  TimelineHistory history;    // of the server's timeline
  Lsn from;                   // where the parent began
  Lsn to;                     // where the backup begins. WAL is flushed up to here
  std::string wal_directory;  // the server's pg_wal
  int jobs = 1;               // threads
  // Of the parent, on `history`.
  TimelineId from_timeline = 1;
  Lsn parent_end;
  // For the proof that the WAL is of this server's history (wal_history.h). It is a doubt that
  // there is none.
  OwnWal own{};
  // For tests of all the rest: the WAL is taken for the server's own without a proof.
  bool without_proof = false;
  // With more WAL that no index tells of, nothing is read.
  std::uint64_t most_unindexed = ~std::uint64_t{0};
};

struct WalChangesFound {
  // Null if everything is to be read.
  std::shared_ptr<const WalChanges> changes;
  std::string doubt;        // why; a clause. Empty if `changes` is there
  std::size_t indexed = 0;  // segments that an index told of
  std::size_t read = 0;     // segments of which WAL was read
};

// What is wrong with an index or with WAL is a doubt, and no error. Errors: kCancelled, and those
// of a store that does not answer.
Result<WalChangesFound> ReadWalChanges(const Repository& repository, const WalInterval& interval);

}  // namespace veza
