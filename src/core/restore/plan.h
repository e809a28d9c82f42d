// The plan of a restore. Every reason to refuse the restore is found before anything is written.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"
#include "core/restore/choose_backup.h"
#include "core/restore/database_choice.h"
#include "core/restore/ending.h"
#include "core/restore/recovery_settings.h"
#include "core/restore/target.h"
#include "core/restore/unlogged_builds.h"

namespace veza {

class PathSet;
class UniqueFd;
struct SweepFindings;

// What a delta does with names at the top of the data directory and of pg_wal that are neither in
// the backup nor known to PostgreSQL.
enum class UnknownNames { kRefuse, kKeep, kRemove };

struct RestoreOptions {
  std::string target_directory;  // absolute
  // The directory of the repository, with all its clusters; empty when the repository is not in a
  // directory. Nothing is restored into it, and no delta removes any of it.
  std::string repository_directory;
  std::string backup_label;  // empty: chosen by the target
  DoubtfulBackups doubtful_backups = DoubtfulBackups::kPassOver;
  RecoveryTarget target;
  bool standby = false;
  bool preserve_archive_mode = false;
  std::map<std::string, std::string> tablespace_map;  // old location to new location, absolute
  // If not empty, every tablespace that the map does not name goes to <tablespace_root>/<oid>.
  std::string tablespace_root;
  std::optional<std::uint64_t> system_identifier;  // required if the repository has several systems
  // The command line of `vezactl wal-get` to write into the settings. A plan that has a target, or
  // ends at a gap, adds --end-at-gap.
  std::string restore_command;
  int jobs = 1;  // threads, each with one request in flight
  // Restore into a directory that may not be empty: keep what matches the backup, and remove what
  // does not.
  bool delta = false;
  UnknownNames unknown_names = UnknownNames::kRefuse;
  // Absolute path of the directory to which pg_wal becomes a link. Empty: pg_wal stays the link
  // that the target has, or becomes a plain directory.
  std::string wal_directory;
  // If segments are missing although later ones exist, recover up to the gap.
  bool end_at_gap = false;
  // Restore only these databases, as ChooseDatabases() takes them. Empty means all.
  std::vector<std::string> databases;
};

struct RestorePlan {
  BackupSummary backup;
  // Why rows of the backup may be wrong, and why rows of a newer backup that was passed over may be
  // (choose_backup.h). Empty when there is no reason to think so.
  std::string doubt;
  std::string passed_over;
  // What a verification has found damaged in the backup or in one that it needs, or why nobody can
  // tell (damage_record.h). Empty when nothing is known. The restore itself finds damage, too.
  std::string damage;
  std::string target_directory;
  std::string repository_directory;
  // The locks of the directories, by path. Nobody else can restore into them while a copy of the
  // plan exists (LockTarget). Null for a directory that does not exist yet.
  std::map<std::string, std::shared_ptr<const UniqueFd>> locks;
  // Their new locations, and the size of what will be written there.
  std::vector<Tablespace> tablespaces;
  std::uint64_t size = 0;                   // bytes to restore, including those in tablespaces
  std::optional<DatabaseChoice> databases;  // set when only some are restored
  TimelineId target_timeline = 0;           // the timeline on which recovery will end
  // The segment at which recovery will stop: it is missing, and later ones exist. Set if it cannot
  // be known whether the target comes before it, if `end_at_gap` was given, or for a standby, to
  // which the primary may stream it. Empty when no segment is known to be missing before the
  // target.
  std::string missing_segment;
  // Recovery stops with an error at this position, where WAL with wal_level = minimal begins,
  // unless its target is before it.
  std::optional<Lsn> minimal;
  TimelineHistory history;  // the path that recovery will follow
  // No segment before this one was missing on the path; 0 if not checked.
  SegmentNumber wal_end = 0;
  // The transactions between which recovery ends.
  Ending ending;
  // Whose files are left out, as far as WAL was looked at.
  UnloggedBuilds unlogged;
  // The target is an LSN or a time after the end of what is archived so far.
  bool is_behind_archive = false;
  RecoverySettings recovery;
  bool ends_at_gap = false;  // whether restore_command has --end-at-gap
  int jobs = 1;
  bool delta = false;
  UnknownNames unknown_names = UnknownNames::kRefuse;
  std::string wal_directory;    // where the link pg_wal leads; empty for a plain directory
  bool keeps_wal_link = false;  // the target already has that link
  // For a delta: directories outside of the data directory that are not empty and belong to the
  // target (RequireOwnPlaces), and links of tablespaces that lead to places where no tablespace
  // will be.
  std::vector<std::string> replaced_places;
  std::vector<FollowedLink> left_links;
  // For a delta: the paths of the backup, and the names in the target that will be replaced, or
  // treated as `unknown_names` says.
  std::shared_ptr<const PathSet> paths;
  std::shared_ptr<const SweepFindings> findings;

  // The directories outside of the data directory: those of tablespaces, and the WAL directory if
  // there is one.
  std::vector<std::string> OtherDirectories() const;
};

// Makes the plan. Nothing is written. It is refused when
// - a directory or tablespace location is not empty or cannot be created. (For a delta: when it is
//   none of those that existing_directory.h accepts, or when nothing proves that it belongs to the
//   target.)
// - only an unencrypted repository names a tablespace's location;
// - the tablespace map names a tablespace that the backup does not have;
// - there is too little disk space;
// - another process restores into one of the directories;
// - the target is before the end of the backup, or the backup does not lead to the target timeline;
// - no timeline is named, and more than one may hold the target time or LSN;
// - the repository lacks a backup that this one names, or WAL that makes the backup consistent;
// - WAL is known to end before the target, and it is no standby;
// - a segment is missing before the end of WAL or before the target LSN (unless `end_at_gap`), or
//   WAL there was written with wal_level = minimal;
// - history files on the way to the latest timeline are missing;
// - ChooseDatabases() refuses the databases;
// - only some databases are restored, and it is a standby, which would go on replaying WAL over the
//   empty databases, or a delta, which would empty existing databases.
//
// A segment that is missing after the backup is looked for again a few seconds later, because it
// may be about to be archived.
Result<RestorePlan> PlanRestore(const Repository& repository, const RestoreOptions& options);

// Checks that the repository still holds what the plan depends on: backup.json, that of the full,
// the WAL that makes the backup consistent, and the WAL and history files from there to the target.
// kDataCorrupted when something was removed meanwhile. Leases (restore_lease.h) prevent that,
// unless somebody ignores them or no lease could be taken.
Status RequireStillThere(const Repository& repository, const RestorePlan& plan);

}  // namespace veza
