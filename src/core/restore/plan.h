// What a restore would do, with every reason to refuse it found before anything is written.
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
#include "core/restore/recovery_settings.h"
#include "core/restore/target.h"

namespace veza {

class PathSet;
class UniqueFd;
struct SweepFindings;

// What a delta does with names at the top of the data directory and of pg_wal that are neither in
// the backup nor PostgreSQL's.
enum class UnknownNames { kRefuse, kKeep, kRemove };

struct RestoreOptions {
  std::string target_directory;  // absolute
  // Where the repository is, with all its clusters; empty when it is in no directory. Nothing is
  // restored into one of them, and no delta removes it.
  std::string repository_directory;
  std::string backup_label;  // empty: chosen by the target
  DoubtfulBackups doubtful_backups = DoubtfulBackups::kPassOver;
  RecoveryTarget target;
  bool standby = false;
  bool preserve_archive_mode = false;
  std::map<std::string, std::string> tablespace_map;  // old location to new, absolute
  // When not empty, every tablespace that the map does not name goes to <tablespace_root>/<oid>.
  std::string tablespace_root;
  std::optional<std::uint64_t> system_identifier;  // needed when the repository has several
  // Of `vezactl wal-get`, as it is to be written. A plan that has a target, or ends at a gap,
  // adds --end-at-gap.
  std::string restore_command;
  int jobs = 1;  // threads, each with a request in flight
  // Into a directory that may hold something: keep what is as in the backup, remove what is not.
  bool delta = false;
  UnknownNames unknown_names = UnknownNames::kRefuse;
  // Absolute: pg_wal becomes a link to it. Empty: it stays the link that the target has, or becomes
  // a plain directory.
  std::string wal_directory;
  // Where segments are missing although later ones are there: recover up to them.
  bool end_at_gap = false;
  // Only these, as ChooseDatabases() takes them; empty: all.
  std::vector<std::string> databases;
};

struct RestorePlan {
  BackupSummary backup;
  // Why rows of the backup may be wrong, and why those of a newer one may, which was passed over
  // (choose_backup.h). Empty where there is no such reason.
  std::string doubt;
  std::string passed_over;
  std::string target_directory;
  std::string repository_directory;
  // By path: nobody else restores into these directories as long as a copy of the plan lives
  // (LockTarget). Null where there is no directory yet.
  std::map<std::string, std::shared_ptr<const UniqueFd>> locks;
  std::vector<Tablespace> tablespaces;      // where they will be, and what will be written there
  std::uint64_t size = 0;                   // bytes to be restored, those in tablespaces included
  std::optional<DatabaseChoice> databases;  // when only some are restored
  TimelineId target_timeline = 0;           // recovery will end on it
  // Recovery comes no further than to this segment: the repository does not have it, only later
  // ones. Whether the target is before it cannot be told, or `end_at_gap` was given, or it is a
  // standby, to which a primary may stream it. Empty: there is none in the way to the target, as
  // far as that can be told.
  std::string missing_segment;
  // Recovery stops with an error where WAL with wal_level = minimal begins, unless its target is
  // before.
  std::optional<Lsn> minimal;
  TimelineHistory history;    // the way that recovery is going to take
  SegmentNumber wal_end = 0;  // on it, no segment before this one was missing; 0: not looked at
  // The target is an LSN or a time that lies behind all that is archived so far.
  bool is_behind_archive = false;
  RecoverySettings recovery;
  bool ends_at_gap = false;  // restore_command has --end-at-gap
  int jobs = 1;
  bool delta = false;
  UnknownNames unknown_names = UnknownNames::kRefuse;
  std::string wal_directory;    // where pg_wal's link leads; empty: a plain directory
  bool keeps_wal_link = false;  // the target has that link
  // Of a delta: places outside of the data directory that hold something and are the target's
  // (RequireOwnPlaces), and links of tablespaces that lead to where none is going to be.
  std::vector<std::string> replaced_places;
  std::vector<FollowedLink> left_links;
  // Of a delta: what is in the backup, and what is in the target that will be treated as
  // `unknown_names` says, or replaced.
  std::shared_ptr<const PathSet> paths;
  std::shared_ptr<const SweepFindings> findings;

  // What is outside of the data directory: tablespaces, and the directory of WAL where it has one.
  std::vector<std::string> OtherDirectories() const;
};

// Refuses: a directory (or tablespace location) that is not empty (for a delta, that is none of
// existing_directory.h, or of which nothing proves that it is the target's) or cannot be created, a
// tablespace location that only an unencrypted repository says, a target before the end of the
// backup, a timeline that the backup does not lead to, a tablespace map that names no tablespace of
// the backup, too little disk space, the full backup of a diff or WAL that the backup needs to
// become consistent but the repository has not, a segment that is missing on the way to the end of
// WAL or to an LSN (unless `end_at_gap`), a time or an LSN that more than one timeline may hold
// when none is named, WAL with wal_level = minimal on that way, history files missing on the way to
// the latest timeline, directories into which somebody else restores, and what ChooseDatabases()
// refuses. A standby cannot be made of some databases: it would go on replaying over the empty
// ones. Nor can a delta, which would empty those that are there. Nothing is written. A segment that
// is missing behind the backup is looked for again a few seconds later: it may be on its way.
Result<RestorePlan> PlanRestore(const Repository& repository, const RestoreOptions& options);

// Whether what a plan rests on is in the repository still: backup.json, that of the full, the WAL
// that makes the backup consistent, and what led on from there to the target. kDataCorrupted,
// saying so, when something was removed meanwhile. Leases (restore_lease.h) prevent that, unless
// somebody does not honour them, or none could be taken.
Status RequireStillThere(const Repository& repository, const RestorePlan& plan);

}  // namespace veza
