// Chooses the backup that a restore starts from.
#pragma once

#include <span>
#include <string_view>

#include "core/error.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_summary.h"
#include "core/repository/pack_list.h"
#include "core/restore/target.h"

namespace veza {

// A drill takes the newest backup, whatever is known about it, because it is meant to test it.
enum class DoubtfulBackups { kPassOver, kTake };

// Chooses the backup to restore. With a label, that one, provided that recovery can reach the
// target from it. Otherwise the newest one by WAL from which recovery can: it lies on the way to
// the target timeline, and it and all older ones ended at or before the target time or LSN. For a
// transaction id or a restore point this cannot be known here; then it is the newest backup, and an
// older one has to be named.
//
// A backup in which something is known to be wrong (suspect_diff.h) is passed over if an older one
// leads to the same target, because pages that were damaged when the newest backup was made may
// have been good in the older one. So is one that is known to lack something, or to be damaged
// (`lost`). WAL then
// carries the older one to the target. The caller has to check that this WAL exists (the plan
// does), and otherwise has to take the doubtful backup. No backup is passed over when the target is
// the end of the backup, since an older one has older rows.
//
// `history` is that of the timeline that recovery follows; null when that is the backup's own
// (TargetTimeline::kCurrent). kNotFound when there is no such backup. kFailedPrecondition when the
// target is before the end of the backup. Errors name the earliest possible target.
// When a backup is refused for a time because the clock of its server was more than an hour ahead,
// by its label or by `now`, they say so.
Result<BackupSummary> ChooseBackup(std::span<const BackupSummary> backups,
                                   const RecoveryTarget& target, std::string_view label,
                                   const TimelineHistory* history, TimePoint now,
                                   DoubtfulBackups doubtful = DoubtfulBackups::kPassOver,
                                   const LostParts& lost = {});

}  // namespace veza
