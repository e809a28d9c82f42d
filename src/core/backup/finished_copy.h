// A copy that is whole, packs and manifest, but whose WAL has not arrived: backup/<label>/
// finished.json (FORMAT.md section 7) is what its backup.json is going to be. Should the waiting
// end (the archiver does not get on, the store is away), another backup completes the copy instead
// of copying everything again.
//
// Only the server that has made a copy completes it, and only while it has not been restarted. It
// knows its own by the digest of finished.json, which it keeps in shared memory. Nothing in the
// repository could tell as much: another node, or a machine that was put back to a snapshot, may be
// on the same timeline and archive other WAL under the names that the copy needs.
//
// All of it is done under the lock. Readers see an unfinished backup.
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

// The manifest has been stored. Returns the digest of finished.json (CopyWanted::own).
Result<Sha256Digest> StoreFinishedCopy(const Repository& repository, const BackupSummary& summary);

// What a server that wants a backup can complete.
struct CopyWanted {
  // Of the finished.json that this server has stored last since its start. Without it nothing will
  // do.
  std::optional<Sha256Digest> own;
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;  // of the server: on another one nobody archives its WAL any more
  Lsn position;             // of the server; a copy from behind it is of a past that was undone
  BackupType type = BackupType::kFull;
  std::uint32_t data_checksum_version = 0;  // of the server
  const BackupSummary* full = nullptr;      // that a diff would refer to
};

// The one that will do: it is less than a day old (kFinishedCopyAge) and whole, has no page with a
// wrong checksum, and there is no newer backup of its type and no gap in the WAL from its start on,
// which a new backup would end. What will not do is left to retention.
Result<std::optional<BackupSummary>> FindFinishedCopy(const Repository& repository,
                                                      const BackupCatalog& catalog,
                                                      const CopyWanted& wanted);

// Whether its manifest and all its packs are there, those of a diff's full, too. Reads the
// manifest, and lists the packs. An error that is not retryable says what is wrong with it.
Status RequireWholeCopy(const Repository& repository, const BackupSummary& summary);

// Makes it a backup, if the guard lets it; its WAL is in the repository, and RequireWholeCopy() was
// content. `own` is as in CopyWanted.
Status CommitFinishedCopy(const Repository& repository, const BackupSummary& summary,
                          const Sha256Digest& own, const CommitGuard& guard);

// Removes what a label holds that never had a backup.json, several objects at once. By its maker
// alone, who does not want it any more: others leave a tombstone first (expire.cpp).
Status RemoveCopy(const Repository& repository, const std::string& label, ClusterLock& lock,
                  int requests_in_flight = 8);

}  // namespace veza
