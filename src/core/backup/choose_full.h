// Which full backup a diff refers to, and by what it may find the changes since.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/archive/gap_record.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"

namespace veza {

// The server that is about to take a diff.
struct DiffCandidate {
  std::uint64_t system_identifier = 0;
  int postgres_major = 0;
  std::uint32_t block_size = 0;
  std::uint32_t data_checksum_version = 0;
  TimelineHistory history;  // of its timeline
  // The end of its WAL. Nothing on a standby, which may yet replay what the full's server has
  // written: it waits until it has.
  std::optional<Lsn> position;
  bool hint_bits_logged = false;  // XLogHintBitIsNeeded()
  // `manifest_sha256` of the newest full backup that this server knows to have made itself since
  // its shared memory was set up.
  std::optional<Sha256Digest> own_full;
  std::vector<MinimalWal> minimal{};
};

struct FullChoice {
  std::optional<BackupSummary> full;
  // Why there is none, for "full backup instead of diff: …".
  std::string reason;
  // Why the LSNs of pages do not tell for sure what was changed since the full; empty when they do.
  std::string doubt;
};

// The newest full backup that a diff of this server may refer to: of the same system and version,
// on the way to the server's timeline and not from a future that the server has never seen, made
// with data checksums as they are now (a switch rewrites pages without a trace in their LSNs),
// without wal_level = minimal since then (what is written without WAL has no LSN of its own), and
// without pages that failed their checksum.
//
// LSNs are trusted only when it is known that hint bits have been logged all the time since the
// full. Data checksums and wal_log_hints are fixed while a server runs, and it remembers the full
// in its memory: a restart, another node, pg_resetwal, checksums that were switched off and on, a
// data directory and even a machine's memory that were put back to a time before the full, all end
// in doubt. Then contents are compared; they are right whatever has happened.
FullChoice ChooseFull(const BackupCatalog& catalog, const DiffCandidate& server);

}  // namespace veza
