// What monitoring needs to know about a repository.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_summary.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/drill_record.h"
#include "core/repository/repository.h"

namespace veza {

struct RepositoryFacts {
  // The number of backups that can be restored, and of those that cannot. A backup whose
  // backup.json is unreadable counts among the latter, whichever system it is of.
  std::map<BackupType, std::size_t> backups;
  std::map<BackupType, std::size_t> unrestorable;
  std::vector<std::string> unrestorable_labels;  // of those that cannot; the newest first
  // Of those that can be restored. By WAL; one on an abandoned branch only if there is no other.
  std::map<BackupType, BackupSummary> newest;
  std::optional<RecoveryStretch> window;  // the newest range of the newest timeline
  std::optional<DrillRecord> last_drill;
  LockState lock;
};

// Reads the facts of one system. Takes a request for each backup, and listings of the backups'
// packs and of the WAL.
Result<RepositoryFacts> ReadRepositoryFacts(const Repository& repository,
                                            std::uint64_t system_identifier,
                                            const CatalogBudget& budget = {});

}  // namespace veza
