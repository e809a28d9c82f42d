// Which timeline a target is on, when nobody has said it.
//
// Behind the point where a timeline parted from another both go on, each with WAL of its own. "The
// latest" is then no answer to "the state at 14:05": the latest may have begun after that, with a
// state from before. A target that only one of them can hold is on that one; else somebody has to
// say it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_summary.h"
#include "core/restore/target.h"

namespace veza {

enum class Answer { kNo, kYes, kUnknown };

// A timeline beside the path to the latest one.
struct Branch {
  TimelineId timeline = 0;
  Answer has_target_behind = Answer::kNo;  // its own WAL begins before the target
  Answer reaches_target = Answer::kNo;     // and goes on to it
  // Whether the path's WAL behind the point where the two parted begins before the target.
  Answer path_has_target_behind = Answer::kNo;
};

// The timeline to follow instead of the path; nothing: the path. kFailedPrecondition when more than
// one can hold the target, or nobody can tell.
Result<std::optional<TimelineId>> ChooseBranch(std::span<const Branch> branches, TimelineId path,
                                               const RecoveryTarget& target);

// The same for what the archive holds, along `path` from `backup`. Only for a time or an LSN; of
// other targets it cannot be known. `backups` are those that a recovery may begin with. Of segments
// around the parting, and of the last ones of a branch, it reads the times of transactions, a few
// segments each.
Result<std::optional<TimelineId>> FindBranch(const WalArchive& archive,
                                             std::span<const BackupSummary> backups,
                                             const BackupSummary& backup,
                                             const TimelineHistory& path,
                                             const RecoveryTarget& target);

// For one who follows the latest timeline: that every history file between the backup's timeline
// and that one can be read. The server asks for each of them, and stops at one that it does not get
// whole. Who names a timeline needs the history of that one alone (wal-get sees to it).
Status RequireReadableHistories(const WalArchive& archive, TimelineId backup, TimelineId latest);

// The same error; for a history file that is damaged with its name, and with what can be done.
Error ExplainHistoryError(TimelineId timeline, Error error);
// Whether the file is damaged, rather than out of reach or not there.
bool IsDamagedHistory(const Error& error);

}  // namespace veza
