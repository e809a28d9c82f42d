#include "core/restore/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/postgres/empty_databases.h"
#include "core/postgres/relation_names.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/entrance.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/restore/existing_directory.h"
#include "core/restore/places.h"
#include "core/restore/running_servers.h"
#include "core/restore/sweep.h"
#include "core/restore/way_to_target.h"

namespace veza {

std::vector<std::string> RestorePlan::OtherDirectories() const {
  std::vector<std::string> directories;
  for (const Tablespace& tablespace : tablespaces) {
    directories.push_back(tablespace.path);
  }
  if (!wal_directory.empty()) {
    directories.push_back(wal_directory);
  }
  return directories;
}

namespace {

Error RemovedMeanwhile(std::string message) {
  return Error{
      ErrorCode::kDataCorrupted, std::move(message),
      "Either somebody has deleted it, or the restore held no lease, or retention ran on a "
      "node with an older version of veza_backup, which ignores leases. Pin a backup with "
      "veza_backup_keep(), and restore that."};
}

Status RequireBackupStillThere(const Repository& repository, const RestorePlan& plan) {
  const Result<BackupSummary> backup = ReadBackup(repository, plan.backup.label);
  const bool gone = !backup && backup.error().code == ErrorCode::kNotFound;
  if (!gone) {
    RETURN_IF_ERROR(backup);
  }
  if (gone || backup->manifest_sha256 != plan.backup.manifest_sha256) {
    return RemovedMeanwhile(
        fmt::format("backup \"{}\" was removed from the repository while it was being restored",
                    plan.backup.label));
  }
  return Ok();
}

// Without the history file PostgreSQL refuses to start, or follows another path.
Status RequireHistoryStillThere(const WalArchive& archive, const RestorePlan& plan) {
  if (plan.history.ancestors.empty()) {
    return Ok();
  }
  const Result<TimelineHistory> history = ReadTimelineHistory(archive, plan.history.timeline);
  if (!history && history.error().code == ErrorCode::kNotFound) {
    return RemovedMeanwhile(
        fmt::format("timeline history file \"{}\" was removed from the repository while backup "
                    "\"{}\" was being restored",
                    TimelineHistoryName(plan.history.timeline), plan.backup.label));
  }
  RETURN_IF_ERROR(history);
  return Ok();
}

Status RequireWholeCluster(const RestoreOptions& options) {
  if (options.standby) {
    return MakeError(ErrorCode::kInvalidArgument, "a standby needs all databases")
        .WithHint("Leave out --databases, or --standby.");
  }
  if (options.delta) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a delta of some databases would empty the others in place")
        .WithHint("Restore into another directory, without --delta.");
  }
  return Ok();
}

// Every database has a PG_VERSION, wherever its directory is.
Status RequireFilesOf(const RestorePlan& plan, const std::set<std::uint32_t>& with_version) {
  for (const DatabaseSummary& database : plan.databases->restored) {
    if (!with_version.contains(database.oid) && database.oid >= kFirstNormalOid) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "backup \"{}\" does not have the files of database \"{}\"",
                       plan.backup.label, database.name)
          .WithHint(kMissingDatabaseHint);
    }
  }
  return Ok();
}

// Subtracts the sizes of empty databases, which backup.json does not give for each tablespace.
// Refuses the restore if the backup lacks the files of a wanted database.
Status LeaveOutEmpty(const Repository& repository, RestorePlan& plan) {
  std::set<std::uint32_t> with_version;
  RETURN_IF_ERROR(ReadManifest(repository, plan.backup, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    const auto* const file = std::get_if<FileRecord>(&record);
    if (file == nullptr) {
      return Ok();
    }
    if (file->path.ends_with("/PG_VERSION") && file->size > 0) {
      with_version.insert(DatabaseOf(file->path));
    }
    if (!plan.databases->LeavesEmpty(file->path)) {
      return Ok();
    }
    plan.size -= std::min(plan.size, file->size);
    for (Tablespace& tablespace : plan.tablespaces) {
      if (file->path.starts_with(fmt::format("pg_tblspc/{}/", tablespace.oid))) {
        tablespace.size -= std::min(tablespace.size, file->size);
      }
    }
    return Ok();
  }));
  return RequireFilesOf(plan, with_version);
}

// Finds everything that forbids a delta before it removes anything.
Status PlanSweep(const Repository& repository, RestorePlan& plan) {
  ASSIGN_OR_RETURN(PathSet paths, ReadPaths(repository, plan));
  ASSIGN_OR_RETURN(SweepFindings findings, FindWhatDoesNotBelong(paths, plan));
  RETURN_IF_ERROR(RequireSweepable(findings, plan));
  plan.paths = std::make_shared<const PathSet>(std::move(paths));
  plan.findings = std::make_shared<const SweepFindings>(std::move(findings));
  return Ok();
}

// Whether recovery may take a gap for the end of WAL. PostgreSQL reads ahead, so it may ask for a
// missing segment before it has reached a target that comes before it. If it does not reach its
// target, it stops with an error. Without a target it would silently end too early.
bool EndsAtGap(const RestorePlan& plan, const RestoreOptions& options) {
  if (options.standby) {
    return options.end_at_gap && !plan.missing_segment.empty();
  }
  return options.target.kind != TargetKind::kEndOfWal ||
         (options.end_at_gap && !plan.missing_segment.empty());
}

// Looks no further than recovery goes, if that is known.
Result<UnloggedBuilds> FindUnlogged(const Repository& repository, const Identity& identity,
                                    const RestorePlan& plan, const WayToTarget& way) {
  const Lsn before = plan.ending.unknown.empty() ? plan.ending.stop.before
                                                 : Lsn{std::numeric_limits<std::uint64_t>::max()};
  return FindUnloggedBuilds(repository, identity, plan.backup, way.pieces, before);
}

// An object that is missing was removed only if the repository itself still exists.
Error ReasonOfAbsence(const Repository& repository, std::uint64_t system_identifier, Error error) {
  if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kDataCorrupted) {
    if (Status there = RequireRepositoryInPlace(repository, system_identifier); !there) {
      return std::move(there.error());
    }
  }
  return error;
}

Result<RestorePlan> MakePlan(const Repository& repository, const RestoreOptions& options,
                             const Identity& identity) {
  const WalArchive archive(repository, identity.system_identifier);
  if (!options.databases.empty()) {
    RETURN_IF_ERROR(RequireWholeCluster(options));
  }

  RestorePlan plan;
  plan.delta = options.delta;
  plan.recovery.target = options.target;
  Found found;
  ASSIGN_OR_RETURN(const BackupSummary chosen,
                   ChooseBackupAndTimeline(repository, archive, options, identity.system_identifier,
                                           &found, &plan.recovery.target));
  // This includes its databases and settings, which the catalog does not hold.
  ASSIGN_OR_RETURN(plan.backup, ReadBackup(repository, chosen.label));
  const TimelineHistory& history = found.history;
  plan.doubt = found.doubt;
  plan.damage = found.damage;
  plan.passed_over = found.passed_over;
  plan.target_timeline = history.timeline;
  if (options.target.timeline.kind == TargetTimeline::Kind::kCurrent) {
    // PostgreSQL treats both the same. wal-get cannot know which timeline "current" means
    // (recovery_path.h).
    plan.recovery.target.timeline = {TargetTimeline::Kind::kNumber, history.timeline};
  }
  plan.size = plan.backup.size;
  if (!options.databases.empty()) {
    ASSIGN_OR_RETURN(plan.databases, ChooseDatabases(plan.backup, options.databases));
  }
  RETURN_IF_ERROR(RequireSources(repository, plan.backup));
  RETURN_IF_ERROR(RequireWal(archive, plan.backup));
  ASSIGN_OR_RETURN(const WayToTarget way,
                   FindWayTwice(repository, archive, plan.backup, history, options.target));
  RETURN_IF_ERROR(RequireWayToTarget(way.obstacle, archive, plan.backup, history, options));
  ASSIGN_OR_RETURN(plan.ending,
                   FindEnding(repository, identity, plan.backup, way.pieces, options.target));
  RETURN_IF_ERROR(RequireReached(plan.ending, way, options, plan.backup.wal_segment_size));
  plan.missing_segment = way.obstacle.missing_segment;
  plan.minimal = way.obstacle.minimal;
  plan.wal_end = way.end;
  plan.is_behind_archive = IsBehind(way, options.target, plan.backup.wal_segment_size);
  plan.history = history;

  plan.target_directory = WithoutLastSlash(options.target_directory);
  plan.repository_directory = options.repository_directory;
  ASSIGN_OR_RETURN(plan.locks[plan.target_directory], LockTarget(plan.target_directory));
  RETURN_IF_ERROR(RequireTarget(plan.target_directory, options.delta, identity.system_identifier));
  ASSIGN_OR_RETURN(plan.tablespaces, PlaceTablespaces(repository, plan.backup, options));
  RETURN_IF_ERROR(RequireSeparateTablespaces(plan));
  RETURN_IF_ERROR(PlaceWalOf(plan, options));
  RETURN_IF_ERROR(RequireApartFromRepository(plan));
  RETURN_IF_ERROR(LockOthers(plan));
  if (plan.delta) {
    RETURN_IF_ERROR(RequireUnused(plan.target_directory, plan.OtherDirectories()));
    RETURN_IF_ERROR(TakeOwnPlaces(plan, options));
  }
  if (plan.databases) {
    RETURN_IF_ERROR(LeaveOutEmpty(repository, plan));
    plan.recovery.ignore_invalid_pages = !plan.databases->empty.empty();
  }
  // A delta replaces existing files, and how many is not known.
  if (!options.delta) {
    RETURN_IF_ERROR(RequireSpace(plan));
  }

  ASSIGN_OR_RETURN(plan.unlogged, FindUnlogged(repository, identity, plan, way));
  plan.recovery.restore_command = options.restore_command;
  plan.ends_at_gap = EndsAtGap(plan, options);
  if (plan.ends_at_gap) {
    plan.recovery.restore_command += kEndAtGapOption;
  }
  plan.recovery.standby = options.standby;
  plan.recovery.preserve_archive_mode = options.preserve_archive_mode;
  plan.jobs = std::max(options.jobs, 1);
  plan.unknown_names = options.unknown_names;
  if (plan.delta) {
    RETURN_IF_ERROR(PlanSweep(repository, plan));
  }
  return plan;
}

Status LookAgain(const Repository& repository, const RestorePlan& plan) {
  RETURN_IF_ERROR(RequireBackupStillThere(repository, plan));
  RETURN_IF_ERROR(RequireSources(repository, plan.backup));
  const WalArchive archive(repository, plan.backup.system_identifier);
  RETURN_IF_ERROR(RequireWal(archive, plan.backup));
  RETURN_IF_ERROR(RequireHistoryStillThere(archive, plan));
  if (plan.wal_end == 0) {
    return Ok();
  }
  // This also notices when the last segments were removed, which leaves no gap. WAL after the
  // target is not needed.
  const std::uint64_t size = plan.backup.wal_segment_size;
  const RecoveryTarget& target = plan.recovery.target;
  const auto lacks_something = [&](const WayToTarget& way) {
    return way.end < plan.wal_end &&
           (target.kind != TargetKind::kLsn || SegmentOf(target.lsn, size) >= way.end);
  };
  ASSIGN_OR_RETURN(WayToTarget way,
                   FindWay(repository, archive, plan.backup, plan.history, plan.recovery.target));
  if (lacks_something(way)) {
    ASSIGN_OR_RETURN(
        way, FindWayTwice(repository, archive, plan.backup, plan.history, plan.recovery.target));
  }
  if (lacks_something(way)) {
    return RemovedMeanwhile(
        fmt::format("WAL segment \"{}\", which was there when the restore began, was removed from "
                    "the repository meanwhile",
                    SegmentName(TimelineOnPath(plan.history, way.end, size), way.end, size)));
  }
  return Ok();
}

}  // namespace

Result<RestorePlan> PlanRestore(const Repository& repository, const RestoreOptions& options) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(options.system_identifier));
  Result<RestorePlan> plan = MakePlan(repository, options, identity);
  if (!plan) {
    return ReasonOfAbsence(repository, identity.system_identifier, std::move(plan.error()));
  }
  return plan;
}

Status RequireStillThere(const Repository& repository, const RestorePlan& plan) {
  Status there = LookAgain(repository, plan);
  if (!there) {
    return ReasonOfAbsence(repository, plan.backup.system_identifier, std::move(there.error()));
  }
  return there;
}

}  // namespace veza
