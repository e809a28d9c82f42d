// The backups of a repository.
#pragma once

#include <string>
#include <vector>

#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"

namespace veza {

// A label with objects but without backup.json: a backup that is being made, or the remains of one
// that failed.
struct UnfinishedBackup {
  std::string label;
};

// backup.json is there but cannot be used (damaged, forged, newer format).
struct BrokenBackup {
  std::string label;
  Error error;
};

struct BackupCatalog {
  std::vector<BackupSummary> backups;  // by system, oldest first (backup_order.h)
  std::vector<UnfinishedBackup> unfinished;
  std::vector<BrokenBackup> broken;
  std::vector<std::string> buried;  // labels with a tombstone: no backup will have them (expire.h)
};

Result<BackupCatalog> ReadBackupCatalog(const Repository& repository);

// kNotFound with the labels there are as a hint; kInvalidArgument for what is no label.
Result<BackupSummary> ReadBackup(const Repository& repository, const std::string& label);

}  // namespace veza
