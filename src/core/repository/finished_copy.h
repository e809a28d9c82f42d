// A copy that is whole, packs and manifest, but whose WAL has not arrived: backup/<label>/
// finished.json (FORMAT.md section 7) is what its backup.json is going to be. Should the waiting
// end (the archiver does not get on, the server stops), another backup completes the copy instead
// of copying everything again.
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

// The manifest has been stored.
Status StoreFinishedCopy(const Repository& repository, const BackupSummary& summary);

// What a server that wants a backup can complete.
struct CopyWanted {
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;  // of the server: on another one nobody archives its WAL any more
  Lsn position;             // of the server; a copy from behind it is of a past that was undone
  BackupType type = BackupType::kFull;
  const BackupSummary* full = nullptr;  // that a diff would refer to
};

// The newest that will do and is less than a day old (kFinishedCopyAge), unless there is a newer
// backup of its type, or a gap in the WAL from its start on, which a new backup would end. One that
// cannot be read is left to retention.
Result<std::optional<BackupSummary>> FindFinishedCopy(const Repository& repository,
                                                      const BackupCatalog& catalog,
                                                      const CopyWanted& wanted);

// Makes it a backup; its WAL is in the repository.
Status CommitFinishedCopy(const Repository& repository, const BackupSummary& summary);

// Removes what a label holds that never had a backup.json, several objects at once. By its maker
// alone, who does not want it any more: others leave a tombstone first (expire.cpp).
Status RemoveCopy(const Repository& repository, const std::string& label, ClusterLock& lock,
                  int requests_in_flight = 8);

}  // namespace veza
