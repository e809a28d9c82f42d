// Reads the list of all backups in a repository.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"

namespace veza {

// A label that has objects but no backup.json: a backup that is being made, or the remains of one
// that failed.
struct UnfinishedBackup {
  std::string label;
};

// A backup whose backup.json cannot be used (damaged, forged, or of a newer format), or was not
// read because the catalog would take too much memory or time. Retention must assume that it needs
// everything.
struct BrokenBackup {
  std::string label;
  Error error;
};

struct BackupCatalog {
  std::vector<BackupSummary> backups;  // by system, oldest first (backup_order.h)
  std::vector<UnfinishedBackup> unfinished;
  std::vector<BrokenBackup> broken;
  // Labels with a tombstone; no backup will be made under them (expire.h).
  std::vector<std::string> buried;
};

// Limits for all backup.json together (core/limits.h). They are needed because with cipher none
// anybody may have written these objects, and servers read them again and again.
struct CatalogBudget {
  std::uint64_t stored = limits::kCatalogStored;
  std::size_t memory = limits::kCatalogMemory;
};
inline constexpr CatalogBudget kBudgetWithLists{.memory = limits::kCatalogLists};

// Reads every backup, as far as `parts` says. When that takes more memory than the budget allows,
// the largest backups are cut down to kFacts; if that is not enough, the largest become broken.
// When the stored size exceeds the budget, those that do not fit become broken. No backup is left
// out. Use ReadBackup() for all parts of one backup.
Result<BackupCatalog> ReadBackupCatalog(const Repository& repository,
                                        SummaryParts parts = SummaryParts::kFacts,
                                        const CatalogBudget& budget = {});

// Reads all parts of one backup, without a budget. kNotFound, with a hint that lists the labels,
// when there is no such backup. kInvalidArgument when `label` is not a label.
Result<BackupSummary> ReadBackup(const Repository& repository, const std::string& label);

}  // namespace veza
