// From when to when one can restore.
//
// A backup becomes consistent with the WAL from its start to its stop, on its own timeline, as
// vezactl restore demands. From its stop on it can be rolled forward along the newest timeline that
// it leads to, as far as no segment is missing. Backups that come to the same end share a stretch:
// whoever starts from the older one passes the newer.
//
// What lies on a timeline behind the point where a newer one parted from it is on no such way, and
// in no stretch unless a backup was taken there; it can be reached by naming the timeline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/repository/backup_catalog.h"

namespace veza {

// Every point from start_lsn to end_lsn can be restored.
struct RecoveryStretch {
  TimePoint start_time{};  // the stop of the oldest backup, by its server's clock
  Lsn start_lsn;
  // When the store got the last segment: no commit in it is later, so this is an upper bound of
  // what target times can be reached. PlanRecoveryWindow() knows it when a run of segments ends
  // there.
  std::optional<TimePoint> end_time;
  Lsn end_lsn;
  TimelineId first_timeline = 0;
  TimelineId last_timeline = 0;
  std::string oldest_backup;
  std::string newest_backup;
  std::size_t backups = 0;
  std::string last_segment;
  std::string missing_segment;  // which would lead on; empty when the archive holds nothing beyond
  // Where WAL with wal_level = minimal begins: it is end_lsn, whatever the archive holds beyond.
  std::optional<Lsn> minimal;

  // "end of the archive", "missing segment …" or "wal_level = minimal at …".
  std::string EndedBy() const;
};

struct UnrestorableBackup {
  std::string label;
  std::string reason;  // "missing segment …", or what is wrong with the full of a diff
};

struct RecoveryWindow {
  std::vector<RecoveryStretch> stretches;        // by start_lsn
  std::vector<UnrestorableBackup> unrestorable;  // in the order of `backups`
};

// `backups` are all of one system, and `archive` is its.
RecoveryWindow PlanRecoveryWindow(std::span<const BackupSummary> backups,
                                  const ArchiveMap& archive);

// What recovery ends at on its way from the backup, whose own WAL is there, although the archive
// holds later WAL; at most one of these.
struct RecoveryObstacle {
  std::string missing_segment;
  std::optional<Lsn> minimal;  // as in RecoveryStretch
};
RecoveryObstacle ObstacleAfter(const BackupSummary& backup, const ArchiveMap& archive);

// The first byte that recovery from the backup, whose own WAL is there, cannot read in the archive.
Lsn EndOfRecovery(const BackupSummary& backup, const ArchiveMap& archive);

// Names of the history files without which not all that the archive holds can be reached from the
// backups of the system (FindMissingHistories()).
Result<std::vector<std::string>> MissingHistories(const WalArchive& archive,
                                                  std::uint64_t system_identifier,
                                                  std::span<const BackupSummary> backups);

// PlanRecoveryWindow() for a system of the repository, with every end_time. The catalog must have
// been read before the archive: WAL is stored before the backup that needs it, and deleted after
// it. Backups that have been deleted meanwhile are left out.
Result<RecoveryWindow> ReadRecoveryWindow(const Repository& repository,
                                          std::uint64_t system_identifier,
                                          const BackupCatalog& catalog, const ArchiveMap& archive);

}  // namespace veza
