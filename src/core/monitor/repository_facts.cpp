#include "core/monitor/repository_facts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/archive/lineage.h"
#include "core/repository/backup_order.h"

namespace veza {

namespace {

// Whether `backup` is newer than `other`. A backup on a living line is newer than one on an
// abandoned branch.
bool LiesBehind(const Lineage& lineage, const BackupSummary& backup, const BackupSummary& other) {
  const auto is_present = [&](const BackupSummary& one) {
    return std::ranges::any_of(lineage.alive(), [&](TimelineId line) {
      return lineage.Holds(line, one.timeline, one.stop_lsn);
    });
  };
  const bool present = is_present(backup);
  return present != is_present(other) ? present : IsBefore(other, backup);
}

void CountBackups(const Lineage& lineage, const BackupCatalog& catalog,
                  const RecoveryWindow& window, RepositoryFacts& facts) {
  for (const BackupSummary& backup : catalog.backups) {
    if (IsAmong(window.unrestorable, backup.label)) {
      ++facts.unrestorable[backup.type];
      facts.unrestorable_labels.push_back(backup.label);
      continue;
    }
    ++facts.backups[backup.type];
    BackupSummary& newest = facts.newest[backup.type];
    if (newest.label.empty() || LiesBehind(lineage, backup, newest)) {
      newest = backup;
    }
  }
  for (const BrokenBackup& broken : catalog.broken) {
    if (const auto parts = ParseLabel(broken.label)) {
      ++facts.unrestorable[parts->type];
      facts.unrestorable_labels.push_back(broken.label);
    }
  }
  std::ranges::sort(facts.unrestorable_labels, std::ranges::greater(), LabelTimeText);
}

}  // namespace

Result<RepositoryFacts> ReadRepositoryFacts(const Repository& repository,
                                            std::uint64_t system_identifier,
                                            const CatalogBudget& budget) {
  RepositoryFacts facts;
  ASSIGN_OR_RETURN(facts.lock, ReadLockState(repository));
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  ASSIGN_OR_RETURN(const Lineage lineage, ReadLineage(repository, identity));
  ASSIGN_OR_RETURN(BackupCatalog catalog,
                   ReadBackupCatalog(repository, SummaryParts::kFacts, budget));
  std::erase_if(catalog.backups, [&](const BackupSummary& backup) {
    return backup.system_identifier != system_identifier;
  });
  ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchiveMap(repository, identity));
  ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(repository, catalog.backups));
  ASSIGN_OR_RETURN(RecoveryWindow window,
                   ReadRecoveryWindow(repository, system_identifier, catalog, archive, lost));
  CountBackups(lineage, catalog, window, facts);
  if (!window.stretches.empty()) {
    facts.window =
        *std::ranges::max_element(window.stretches, {}, [](const RecoveryStretch& stretch) {
          return std::pair(stretch.last_timeline, stretch.end_lsn);
        });
  }
  ASSIGN_OR_RETURN(facts.last_drill, ReadNewestDrill(repository, system_identifier));
  return facts;
}

}  // namespace veza
