// The stretches of time to which the cluster can be restored.
//
// A backup becomes consistent with the WAL from its start to its stop, on its own timeline; vezactl
// restore demands it. From its stop on, recovery can go forward along the newest timeline that it
// leads to, up to the first missing segment. Backups from which recovery reaches the same end share
// a stretch: recovery from the older one passes the newer one.
//
// WAL of a timeline behind the point where a newer timeline parted from it is not on that way. It
// is in no stretch, unless a backup was taken there. It can be reached by naming the timeline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/pack_list.h"

namespace veza {

struct CommitPlace {
  TimePoint time{};
  Lsn lsn;  // where its record begins
  std::uint32_t xid = 0;
};

// Every point from start_lsn to end_lsn can be restored.
struct RecoveryStretch {
  TimePoint start_time{};  // the stop of the oldest backup, by its server's clock
  Lsn start_lsn;
  // When the store received the last segment, but not before the start. No commit in it is later,
  // so no later target time can be reached. PlanRecoveryWindow() fills it in only when a run of
  // segments ends there. FindWindowEnds() (core/timeline/window_end.h) puts the time of the last
  // commit in its place.
  std::optional<TimePoint> end_time;
  bool end_is_exact = false;               // what FindWindowEnds() has found
  std::optional<CommitPlace> last_commit;  // likewise: since the start of the oldest backup
  Lsn end_lsn;
  TimelineId first_timeline = 0;
  TimelineId last_timeline = 0;
  std::string oldest_backup;
  std::string newest_backup;
  std::size_t backups = 0;
  std::string last_segment;
  std::string missing_segment;  // before later WAL; empty when the archive holds no later WAL
  // Where WAL with wal_level = minimal begins. It equals end_lsn, even if the archive holds more.
  std::optional<Lsn> minimal;

  // "end of the archive", "missing segment …" or "wal_level = minimal at …".
  std::string EndedBy() const;
};

struct UnrestorableBackup {
  std::string label;
  // What WhyNotRestorable() says, or "missing segment …".
  std::string reason;
};

// Whether the backup is one of them.
bool IsAmong(std::span<const UnrestorableBackup> unrestorable, std::string_view label);

struct RecoveryWindow {
  std::vector<RecoveryStretch> stretches;        // ordered by start_lsn
  std::vector<UnrestorableBackup> unrestorable;  // in the order of `backups`
  // Those that may be damaged, with what WhyUncertain() says. They count as restorable.
  std::vector<UnrestorableBackup> uncertain{};
};

// `backups` are all those of one system, and `archive` is of the same system. `lost` tells which of
// them lack their manifest or a pack, or are damaged.
RecoveryWindow PlanRecoveryWindow(std::span<const BackupSummary> backups, const ArchiveMap& archive,
                                  const LostParts& lost);

// What ends recovery from a backup although the archive holds later WAL; at most one of these. The
// WAL that the backup itself needs is there.
struct RecoveryObstacle {
  std::string missing_segment;
  std::optional<Lsn> minimal;  // as in RecoveryStretch
};
RecoveryObstacle ObstacleAfter(const BackupSummary& backup, const ArchiveMap& archive);

// Consecutive segments of one timeline, in the order in which recovery reads them.
struct WalPiece {
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  Lsn end;  // what begins at it or behind it does not count: recovery leaves the timeline there
};
// The WAL that recovery from the backup reads, from the start of the backup on. No segment is in
// two pieces. The WAL that the backup itself needs is there.
std::vector<WalPiece> WalOnTheWay(const BackupSummary& backup, const ArchiveMap& archive);

// The first byte that recovery from the backup cannot read in the archive. The WAL that the backup
// itself needs is there.
Lsn EndOfRecovery(const BackupSummary& backup, const ArchiveMap& archive);

// Names of history files that are missing (FindMissingHistories()). Without them, a part of the
// archive cannot be reached from the backups of the system.
Result<std::vector<std::string>> MissingHistories(const WalArchive& archive,
                                                  std::uint64_t system_identifier,
                                                  std::span<const BackupSummary> backups);

// Runs PlanRecoveryWindow() for a system and fills in every end_time, none before its start. `lost`
// is what FindLostParts() says of the catalog. The catalog must have been read before the archive:
// WAL is stored before the backup that needs it, and deleted after it. Backups that have been
// deleted meanwhile are left out.
Result<RecoveryWindow> ReadRecoveryWindow(const Repository& repository,
                                          std::uint64_t system_identifier,
                                          const BackupCatalog& catalog, const ArchiveMap& archive,
                                          const LostParts& lost);

}  // namespace veza
