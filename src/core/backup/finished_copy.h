// A finished copy has all packs and the manifest, but its WAL has not arrived yet.
// backup/<label>/finished.json (FORMAT.md section 7) holds what its backup.json will be. If the
// backup gives up waiting (because the archiver makes no progress, or the store is away), another
// backup completes the copy instead of copying everything again.
//
// Only the server that made a copy completes it, and only until it is restarted. It recognises its
// own copy by the digest of finished.json, which it keeps in shared memory. Nothing in the
// repository could tell as much: another node, or a machine that was put back to a snapshot, may be
// on the same timeline and archive other WAL under the names that the copy needs.
//
// All functions are called under the lock. To readers the copy is an unfinished backup.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_summary.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"

namespace veza {

// Call it when the manifest is stored. Returns the digest of finished.json (CopyWanted::own).
Result<Sha256Digest> StoreFinishedCopy(const Repository& repository, const BackupSummary& summary);

// Describes a copy that this server can complete.
struct CopyWanted {
  // The digest of the last finished.json that this server has stored since its start. Without it no
  // copy is taken.
  std::optional<Sha256Digest> own;
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;  // of the server; on another one nobody archives the copy's WAL any more
  Lsn position;  // of the server; a copy that ends behind it belongs to a history that was undone
  BackupType type = BackupType::kFull;
  std::uint32_t data_checksum_version = 0;  // of the server
  const BackupSummary* parent = nullptr;    // that a diff or an incr would build on
};

// Finds the copy that can be completed. It is whole, less than a day old (kFinishedCopyAge), and
// has no page with a wrong checksum. There is no newer backup of its type, and no gap in the WAL
// since its start: after a gap a new backup is needed. Other copies are left to retention.
Result<std::optional<BackupSummary>> FindFinishedCopy(const Repository& repository,
                                                      const BackupCatalog& catalog,
                                                      const CopyWanted& wanted);

// Checks that the manifest and all packs are there, also those of other backups.
// Reads the manifest and lists the packs. An error that is not retryable says what is wrong with
// the copy.
Status RequireWholeCopy(const Repository& repository, const BackupSummary& summary);

// Whether an error of RequireWholeCopy() leaves open whether the copy is whole: the store did not
// answer or refused the credentials, or the work was cancelled.
bool LeavesCopyOpen(const Error& error);

// Makes the copy a backup, if the guard allows it. Before, the WAL is in the repository and
// RequireWholeCopy() has succeeded. `own` is as in CopyWanted. backup.json gets the key wraps that
// are there now.
Status CommitFinishedCopy(const Repository& repository, const BackupSummary& summary,
                          const Sha256Digest& own, const CommitGuard& guard);

// Removes everything below a label that never had a backup.json, several objects at once. Only for
// the process that made it: others leave a tombstone first (expire.cpp).
Status RemoveCopy(const Repository& repository, const std::string& label, ClusterLock& lock,
                  int requests_in_flight = 8);

}  // namespace veza
