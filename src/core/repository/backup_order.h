// Which of two backups is newer. Nodes' clocks have no say in it: the position in WAL tells what a
// backup holds, and labels tell the order in which backups were begun (FORMAT.md section 1).
#pragma once

#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

// By timeline, then by the end of the backup. Of two backups on one line of history the one that
// holds less comes first. Of backups on branches that parted, the one on the newer timeline comes
// last. A total order for the backups of one system.
bool IsBefore(const BackupSummary& a, const BackupSummary& b);

// Whether b is newer than a without doubt: behind it in WAL, and begun later by its label. The two
// disagree about backups of version 0.1 by nodes whose clocks differed, and after a storage
// snapshot was rolled back. Then both backups count as the newer one.
bool IsSurelyOlder(const BackupSummary& a, const BackupSummary& b);

// Oldest first, by system.
void SortBackups(std::vector<BackupSummary>& backups);

// The time for a new label: the store's, or a second after the newest of the labels that are there.
// `names` that are not labels do not count. kFailedPrecondition, naming the label, when no time can
// follow it.
Result<TimePoint> NextLabelTime(const std::vector<std::string>& names, TimePoint store_now);

}  // namespace veza
