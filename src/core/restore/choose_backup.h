// Which backup a restore starts from.
#pragma once

#include <span>
#include <string_view>

#include "core/error.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_summary.h"
#include "core/restore/target.h"

namespace veza {

// A drill takes the newest backup, whatever is known of it: it is there to find out.
enum class DoubtfulBackups { kPassOver, kTake };

// The backup to restore. With a label that one, provided that recovery can reach the target from
// it; otherwise the newest by WAL from which it can: one that ended at or before a target time or
// LSN, as did every older one, and lies on the way to the target timeline. When a transaction or
// restore point happened cannot be known here; for these it is the newest backup, and an older one
// has to be named.
//
// A backup in which something is known to be wrong (suspect_diff.h) is passed over when an older
// one leads to the same target, which WAL then carries there: pages that were damaged when the
// newest one was made were good in it. Whether that WAL is there is for the caller to find out (the
// plan does), and to take the doubtful one otherwise. Not for the end of a backup, where an older
// one has older rows.
//
// `history` is of the timeline that recovery follows; null when that is the backup's own
// (TargetTimeline::kCurrent). kNotFound when there is no such backup; kFailedPrecondition when the
// target is before the end of it. Errors name the earliest target that is possible.
Result<BackupSummary> ChooseBackup(std::span<const BackupSummary> backups,
                                   const RecoveryTarget& target, std::string_view label,
                                   const TimelineHistory* history,
                                   DoubtfulBackups doubtful = DoubtfulBackups::kPassOver);

}  // namespace veza
