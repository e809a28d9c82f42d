// The exact end of each stretch of the recovery window.
#pragma once

#include "core/archive/archive_map.h"
#include "core/archive/recovery_window.h"
#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/repository.h"

namespace veza {

// Finds the last commit that recovery reaches in each stretch, and puts it in place of the upper
// bound `end_time`. Without a commit behind the oldest backup, the end is its start. No commit
// counts that is behind a segment in which WAL ends, if an index behind the newest backup tells of
// that. Opens the index objects from the newest backup on (from the oldest one if there is no
// commit behind it), and reads the last segments if they have no index. Where these cannot be read,
// or more than `most_read` bytes of them have no index, the upper bound stays. `catalog` and
// `archive` are those that the window was made from.
Status FindWindowEnds(const Repository& repository, std::uint64_t system_identifier,
                      const BackupCatalog& catalog, const ArchiveMap& archive,
                      RecoveryWindow* window, std::uint64_t most_read = std::uint64_t{256} << 20);

}  // namespace veza
