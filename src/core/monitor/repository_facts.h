// What monitoring wants to know of a repository.
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
  std::map<BackupType, std::size_t> backups;   // how many
  std::map<BackupType, BackupSummary> newest;  // by WAL, abandoned branches last
  std::optional<RecoveryStretch> window;       // the one that ends on the newest timeline, and last
  std::optional<DrillRecord> last_drill;
  LockState lock;
};

// Of one system. A request for each backup, and a listing of the WAL.
Result<RepositoryFacts> ReadRepositoryFacts(const Repository& repository,
                                            std::uint64_t system_identifier);

}  // namespace veza
