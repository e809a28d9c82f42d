#include "core/repository/repository_facts.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/repository/backup_catalog.h"
#include "core/repository/wal_archive.h"

namespace veza {

Result<RepositoryFacts> ReadRepositoryFacts(const Repository& repository,
                                            std::uint64_t system_identifier) {
  RepositoryFacts facts;
  ASSIGN_OR_RETURN(facts.lock, ReadLockState(repository));
  ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(repository));
  std::erase_if(catalog.backups, [&](const BackupSummary& backup) {
    return backup.system_identifier != system_identifier;
  });
  for (const BackupSummary& backup : catalog.backups) {
    ++facts.backups[backup.type];
    BackupSummary& newest = facts.newest[backup.type];
    if (newest.label.empty() || backup.stop_time > newest.stop_time) {
      newest = backup;
    }
  }
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  const WalArchive wal(repository, system_identifier);
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, wal.Ranges(identity.wal_segment_size));
  ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchiveMap(repository, identity, ranges));
  ASSIGN_OR_RETURN(RecoveryWindow window,
                   ReadRecoveryWindow(repository, system_identifier, catalog, archive));
  if (!window.stretches.empty()) {
    facts.window = std::move(window.stretches.back());
  }
  ASSIGN_OR_RETURN(facts.last_drill, ReadNewestDrill(repository, system_identifier));
  return facts;
}

}  // namespace veza
