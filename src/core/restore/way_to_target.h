// The way that recovery takes: the backup it begins with, the timeline it follows, and the WAL
// between the backup and the target.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/archive/wal_archive.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"
#include "core/restore/ending.h"
#include "core/restore/plan.h"
#include "core/restore/target.h"

namespace veza {

// Checks that the repository has the backups whose packs this one names: most of a diff is in its
// full, and most of an incr in several others.
Status RequireSources(const Repository& repository, const BackupSummary& backup);

// Checks that the repository has the WAL that makes the backup consistent.
Status RequireWal(const WalArchive& archive, const BackupSummary& backup);

struct WayToTarget {
  RecoveryObstacle obstacle{};   // what is in the way to the target, as far as that can be told
  std::vector<WalPiece> pieces;  // what recovery can read, up to the end of WAL
  SegmentNumber end = 0;         // the first segment that recovery cannot get
  TimePoint last_stored{};       // when the store received the last WAL of the cluster
};

// Finds out how far the WAL in the repository leads from the backup. Recovery follows `history`, so
// WAL of other timelines does not count.
Result<WayToTarget> FindWay(const Repository& repository, const WalArchive& archive,
                            const BackupSummary& backup, const TimelineHistory& history,
                            const RecoveryTarget& target);

// The same, but looks for a missing segment again some seconds later: it may be on its way into the
// repository.
Result<WayToTarget> FindWayTwice(const Repository& repository, const WalArchive& archive,
                                 const BackupSummary& backup, const TimelineHistory& history,
                                 const RecoveryTarget& target);

// Whether the target lies behind all that is archived so far. A time does so only when it is later
// than the last archived segment by some minutes: the clocks of the server and of the store may
// differ.
bool IsBehind(const WayToTarget& way, const RecoveryTarget& target, std::uint64_t segment_size);

// Refuses an obstacle that recovery is certain to meet. If all objects behind a missing segment are
// too small to be WAL, the message names the first of them.
Status RequireWayToTarget(const RecoveryObstacle& obstacle, const WalArchive& archive,
                          const BackupSummary& backup, const TimelineHistory& history,
                          const RestoreOptions& options);

// Refuses a target that recovery from the backup does not reach: it would replay all WAL, and then
// fail. The message names the last commit that it reaches, for an LSN the end of WAL. A standby
// waits for more WAL.
Status RequireReached(const Ending& ending, const WayToTarget& way, const RestoreOptions& options,
                      std::uint64_t segment_size);

// What ChooseBackupAndTimeline() finds beside the backup.
struct Found {
  TimelineHistory history;  // that of the timeline that recovery follows
  // As in RestorePlan.
  std::string doubt;
  std::string damage;
  std::string passed_over;
};

// Chooses the backup, and the timeline that recovery ends on. Where no timeline was given and the
// target is not on the latest one, `target` gets the number of the one that it is on. A transaction
// or a restore point is looked for in WAL, so that the backup is one from which it can be reached.
Result<BackupSummary> ChooseBackupAndTimeline(const Repository& repository,
                                              const WalArchive& archive,
                                              const RestoreOptions& options,
                                              std::uint64_t system_identifier, Found* found,
                                              RecoveryTarget* target);

}  // namespace veza
