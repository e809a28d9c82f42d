// Decides which of two backups is newer. The clocks of the nodes do not matter: the position in WAL
// tells what a backup contains, and the labels tell the order in which backups were begun
// (FORMAT.md section 1).
#pragma once

#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

// Compares by timeline, then by the LSN at which the backup ended, so the backup on the newer
// timeline comes last, and on one timeline the one that contains less WAL comes first. This is a
// total order for the backups of one system.
bool IsBefore(const BackupSummary& a, const BackupSummary& b);

// Whether `b` is newer than `a` without doubt: it is later in WAL, and its label says that it began
// later. The two may disagree for backups that nodes of version 0.1 with different clocks have
// made, and after a storage snapshot was rolled back. Callers must then treat each of the two as
// possibly newer.
bool IsSurelyOlder(const BackupSummary& a, const BackupSummary& b);

// Sorts by system, and oldest first within a system.
void SortBackups(std::vector<BackupSummary>& backups);

// The time for a new label: the store's time, or one second after the newest label in `names` if
// that is later. Names that are not labels are ignored. kFailedPrecondition, naming the label, when
// no later time can be expressed.
Result<TimePoint> NextLabelTime(const std::vector<std::string>& names, TimePoint store_now);

}  // namespace veza
