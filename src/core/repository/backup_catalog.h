// The backups of a repository.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"

namespace veza {

// A label with objects but without backup.json: a backup that is being made, or the remains of one
// that failed.
struct UnfinishedBackup {
  std::string label;
};

// backup.json is there but cannot be used (damaged, forged, newer format), or was not read because
// the catalog would take too much memory or time. It counts as a backup that may need anything.
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

// What all backup.json together may take (core/limits.h): anybody may have written those with
// cipher none, and servers read them again and again.
struct CatalogBudget {
  std::uint64_t stored = limits::kCatalogStored;
  std::size_t memory = limits::kCatalogMemory;
};
inline constexpr CatalogBudget kBudgetWithLists{.memory = limits::kCatalogLists};

// The whole of a backup, its databases and settings, comes from ReadBackup(). Beyond the memory the
// largest backups are cut down to kFacts, and then are broken; beyond the stored size, what does
// not fit is broken: they are not absent.
Result<BackupCatalog> ReadBackupCatalog(const Repository& repository,
                                        SummaryParts parts = SummaryParts::kFacts,
                                        const CatalogBudget& budget = {});

// Whole, whatever the others take. kNotFound with the labels there are as a hint; kInvalidArgument
// for what is no label.
Result<BackupSummary> ReadBackup(const Repository& repository, const std::string& label);

}  // namespace veza
