// What monitoring needs to know about a repository.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "core/archive/recovery_window.h"
#include "core/repository/backup_summary.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/drill_record.h"
#include "core/repository/repository.h"

namespace veza {

struct RepositoryFacts {
  std::map<BackupType, std::size_t> backups;  // the number of backups
  // By WAL; one on an abandoned branch only if there is no other.
  std::map<BackupType, BackupSummary> newest;
  std::optional<RecoveryStretch> window;  // the newest range of the newest timeline
  std::optional<DrillRecord> last_drill;
  LockState lock;
};

// Reads the facts of one system. Takes a request for each backup, and a listing of the WAL.
Result<RepositoryFacts> ReadRepositoryFacts(const Repository& repository,
                                            std::uint64_t system_identifier);

}  // namespace veza
