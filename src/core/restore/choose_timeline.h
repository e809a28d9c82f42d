// Decides which timeline a target is on when the user has not named one.
//
// After a fork, both timelines continue, each with WAL of its own. Then "the latest timeline" is
// not the right answer to "the state at 14:05": the latest may have begun later, from an earlier
// state. If only one timeline can hold the target, it is that one. Otherwise the user has to name
// it.
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

// A timeline that is not on the path to the latest one.
struct Branch {
  TimelineId timeline = 0;
  Answer has_target_behind = Answer::kNo;  // the branch's own WAL begins before the target
  Answer reaches_target = Answer::kNo;     // and continues up to the target
  // Whether the path's WAL after the fork begins before the target.
  Answer path_has_target_behind = Answer::kNo;
};

// The timeline to follow instead of the path; nullopt to follow the path. kFailedPrecondition when
// more than one timeline can hold the target, or when that cannot be known.
Result<std::optional<TimelineId>> ChooseBranch(std::span<const Branch> branches, TimelineId path,
                                               const RecoveryTarget& target);

// The same, for what the archive holds along `path` from `backup`. Only for a time or an LSN; for
// other targets it cannot be known, and the result is nullopt. `backups` are those from which a
// recovery may start. Reads the times of transactions from a few segments around each fork and at
// the end of each branch.
Result<std::optional<TimelineId>> FindBranch(const WalArchive& archive,
                                             std::span<const BackupSummary> backups,
                                             const BackupSummary& backup,
                                             const TimelineHistory& path,
                                             const RecoveryTarget& target);

// For a recovery that follows the latest timeline: checks that every history file between the
// backup's timeline and the latest can be read. The server asks for each of them, and stops at one
// that it does not get complete. A recovery to a numbered timeline needs the history of that one
// only (wal-get checks it).
Status RequireReadableHistories(const WalArchive& archive, TimelineId backup, TimelineId latest);

// The error with an explanation: for a damaged history file, its name and a hint.
Error ExplainHistoryError(TimelineId timeline, Error error);
// Whether the error says that the file is damaged, and not that it is missing or out of reach.
bool IsDamagedHistory(const Error& error);

}  // namespace veza
