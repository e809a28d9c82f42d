#include "core/restore/plan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "core/archive/archive_map.h"
#include "core/archive/recovery_window.h"
#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/backup/suspect_diff.h"
#include "core/postgres/empty_databases.h"
#include "core/postgres/relation_names.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_order.h"
#include "core/repository/entrance.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/restore/choose_backup.h"
#include "core/restore/choose_timeline.h"
#include "core/restore/existing_directory.h"
#include "core/restore/overlap.h"
#include "core/restore/running_servers.h"
#include "core/restore/sweep.h"
#include "core/restore/wal_directory.h"

namespace veza {

namespace {

// The nearest ancestor that exists: where the file system can be asked.
std::string ExistingAncestor(std::string path) {
  struct stat info {};
  while (path.size() > 1 && stat(path.c_str(), &info) != 0) {
    const std::size_t slash = path.rfind('/');
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  return path;
}

// Without slashes at the end, so that the same place has the same name.
std::string WithoutLastSlash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  return path;
}

constexpr const char* kWhoMayWrite =
    "Run vezactl as the account that will run PostgreSQL (root names it with --user), and let that "
    "account write there.";

// As the user whose rights the restore will have. Sets errno when not.
bool MayWriteTo(const std::string& directory) {
  return faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

// Absent, or a directory that may be written to.
Status RequireUsableDirectory(const std::string& path) {
  if (!path.starts_with('/')) {
    return MakeError(ErrorCode::kInvalidArgument, "directory \"{}\" is not an absolute path", path);
  }
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 && errno == ENOENT) {
    const std::string ancestor = ExistingAncestor(path);
    if (!MayWriteTo(ancestor)) {
      return ErrnoError(errno,
                        fmt::format("could not create directory \"{}\" in \"{}\"", path, ancestor))
          .WithHint(kWhoMayWrite);
    }
    return Ok();
  }
  if (!MayWriteTo(path)) {
    return ErrnoError(errno, fmt::format("could not write to directory \"{}\"", path))
        .WithHint(kWhoMayWrite);
  }
  return Ok();
}

Status RequireEmpty(const std::string& path, const Result<bool>& empty) {
  RETURN_IF_ERROR(empty);
  if (!*empty) {
    const bool interrupted =
        access(fmt::format("{}/{}", path, kUnfinishedMarker).c_str(), F_OK) == 0;
    return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" is not empty", path)
        .WithHint(interrupted
                      ? "A restore has begun here and has not ended; --delta completes it."
                      : "Choose another directory, or remove what is in it. Nothing was written.");
  }
  return Ok();
}

Status RequireTarget(const std::string& path, bool delta, std::uint64_t system_identifier) {
  RETURN_IF_ERROR(delta ? RequireReplaceableDirectory(path, system_identifier)
                        : RequireEmpty(path, IsEmptyTarget(path)));
  return RequireUsableDirectory(path);
}

// What a delta finds there RequireOwnPlaces() looks at, when nobody else can fill it any more.
Status RequireTablespace(const Tablespace& tablespace, const RestoreOptions& options) {
  if (!options.delta) {
    RETURN_IF_ERROR(RequireEmpty(tablespace.path, IsEmptyDirectory(tablespace.path)));
  }
  return RequireUsableDirectory(tablespace.path);
}

std::string LinkOf(const std::string& target, const Tablespace& tablespace) {
  return fmt::format("{}/pg_tblspc/{}", target, tablespace.oid);
}

std::string TextOfLink(const std::string& link) {
  std::error_code error;
  return std::filesystem::read_symlink(link, error).string();
}

// As --tablespace-map takes it from a shell.
std::string MapOption(std::string_view from, std::string_view to) {
  const auto escaped = [](std::string_view path) {
    std::string text;
    for (const char c : path) {
      text += c == '=' ? "\\=" : std::string(1, c);
    }
    return text;
  };
  return "--tablespace-map " + QuoteForShell(escaped(from) + "=" + escaped(to));
}

OuterPlace PlaceOf(const Tablespace& recorded, const std::string& directory,
                   const RestoreOptions& options) {
  OuterPlace place{directory, LinkOf(options.target_directory, recorded), "",
                   options.tablespace_map.contains(recorded.path)};
  if (const std::string leads_to = TextOfLink(place.link); !leads_to.empty()) {
    place.option = MapOption(recorded.path, leads_to);
  }
  return place;
}

// Without encryption anybody who can write to the repository can have written the location there.
// That the target has it says that it is none of the repository's making.
Status RequireProvenPlace(const Repository& repository, const Tablespace& tablespace,
                          const RestoreOptions& options) {
  if (repository.seal_policy().encrypts() ||
      (options.delta &&
       MayBelongTo(options.target_directory, PlaceOf(tablespace, tablespace.path, options)))) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "tablespace {} would be restored to \"{}\", as an unencrypted repository says",
                   tablespace.oid, tablespace.path)
      .WithHint(fmt::format(
          "With veza_backup.cipher = 'none' nothing proves who wrote that. Say where it is to go, "
          "be it there: --tablespace-map {}=DIRECTORY. Nothing was written.",
          tablespace.path));
}

Result<std::vector<Tablespace>> PlaceTablespaces(const Repository& repository,
                                                 const BackupSummary& backup,
                                                 const RestoreOptions& options) {
  std::vector<Tablespace> placed = backup.tablespaces;
  for (const auto& mapping : options.tablespace_map) {
    const std::string& from = mapping.first;
    const auto found =
        std::find_if(placed.begin(), placed.end(),
                     [&](const Tablespace& tablespace) { return tablespace.path == from; });
    if (found == placed.end()) {
      std::string known;
      for (const Tablespace& tablespace : backup.tablespaces) {
        known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", tablespace.path);
      }
      return MakeError(ErrorCode::kInvalidArgument, "backup \"{}\" has no tablespace at \"{}\"",
                       backup.label, from)
          .WithHint(known.empty() ? "It has no tablespaces."
                                  : fmt::format("Its tablespaces are at {}.", known));
    }
  }
  for (Tablespace& tablespace : placed) {
    const auto mapped = options.tablespace_map.find(tablespace.path);
    if (mapped != options.tablespace_map.end()) {
      tablespace.path = WithoutLastSlash(mapped->second);
    } else if (!options.tablespace_root.empty()) {
      tablespace.path = fmt::format("{}/{}", options.tablespace_root, tablespace.oid);
    } else {
      RETURN_IF_ERROR(RequireProvenPlace(repository, tablespace, options));
    }
    Status usable = RequireTablespace(tablespace, options);
    if (!usable) {
      Error error =
          std::move(usable.error()).WithContext(fmt::format("tablespace {}", tablespace.oid));
      error.hint += error.hint.empty() ? "" : " ";
      error.hint += "Or give the tablespace another place with --tablespace-map OLD=NEW.";
      return error;
    }
  }
  return placed;
}

constexpr const char* kGiveAnotherPlace = "Give another place with --tablespace-map OLD=NEW.";

// Whether a user has said that the tablespace is to go where it was neither when the backup was
// made nor is by the target's link.
bool IsNewPlace(const Tablespace& recorded, const Tablespace& placed, const RestorePlan& plan) {
  std::error_code error;
  return CanonicalPath(recorded.path) != CanonicalPath(placed.path) &&
         !std::filesystem::equivalent(LinkOf(plan.target_directory, recorded), placed.path, error);
}

Error WithinEachOther(const std::string& one, const std::string& other) {
  return MakeError(ErrorCode::kInvalidArgument, "\"{}\" and \"{}\" lie within each other", one,
                   other)
      .WithHint(fmt::format("{} Nothing was written.", kGiveAnotherPlace));
}

// Of places in which tablespaces were before, only those are refused in which one would be in the
// files of the other: PostgreSQL allows the rest, with a warning at the most.
Status RequireSeparateTablespaces(const RestorePlan& plan) {
  const std::vector<Tablespace>& placed = plan.tablespaces;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const std::string& path = placed[i].path;
    const bool is_new = IsNewPlace(plan.backup.tablespaces[i], placed[i], plan);
    if (IsSamePlace(path, plan.target_directory)) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "tablespace {} would be restored into the data directory itself",
                       placed[i].oid)
          .WithHint(kGiveAnotherPlace);
    }
    if ((is_new && Overlap(path, plan.target_directory)) ||
        IsWithinTablespace(plan.target_directory, path)) {
      return WithinEachOther(path, plan.target_directory);
    }
    for (std::size_t j = 0; j < placed.size(); ++j) {
      const std::string& other = placed[j].path;
      if (j < i && IsSamePlace(path, other)) {
        return MakeError(ErrorCode::kInvalidArgument, "two tablespaces would be restored to \"{}\"",
                         path)
            .WithHint("Give each a place of its own with --tablespace-map OLD=NEW.");
      }
      if (j != i && ((is_new && Overlap(path, other)) || IsWithinTablespace(path, other))) {
        return WithinEachOther(path, other);
      }
    }
  }
  return Ok();
}

// Whether `path` is the directory of a repository, or in what one of its clusters has there. Beside
// the clusters there may be anything: the data directory itself, where both are on one file system.
bool IsInRepository(const std::string& path, const std::string& repository) {
  const std::optional<std::filesystem::path> way = WayTo(path, repository);
  if (!way) {
    return false;
  }
  const std::filesystem::path root = CanonicalPath(repository);
  const auto holds = [&](std::string_view prefix) {
    std::error_code error;
    return std::filesystem::exists(root / *way->begin() / prefix, error);
  };
  return way->empty() || holds(kIdentityPrefix) || holds(kKeyPrefix) || holds(kBackupPrefix);
}

// Nothing is restored into the repository, and no delta removes it.
Status RequireApartFromRepository(const RestorePlan& plan) {
  const std::string& repository = plan.repository_directory;
  if (repository.empty()) {
    return Ok();
  }
  const auto refuse = [&](const std::string& directory) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"{}\" and the repository, \"{}\", lie within each "
                     "other",
                     directory, repository)
        .WithHint(
            "Give another place with --target-dir, --tablespace-map or --waldir. Nothing was "
            "written.");
  };
  for (const std::string& directory : {plan.target_directory, plan.wal_directory}) {
    if (!directory.empty() &&
        (IsInRepository(directory, repository) || IsWithin(repository, directory))) {
      return refuse(directory);
    }
  }
  for (const Tablespace& tablespace : plan.tablespaces) {
    if (IsInRepository(tablespace.path, repository) ||
        IsWithinTablespace(repository, tablespace.path)) {
      return refuse(tablespace.path);
    }
  }
  return Ok();
}

// What each file system is to take, against what it has.
Status RequireSpace(const RestorePlan& plan) {
  struct Need {
    std::string path;
    std::uint64_t bytes = 0;
  };
  std::map<dev_t, Need> needs;
  const auto add = [&](const std::string& path, std::uint64_t bytes) {
    struct stat info {};
    if (stat(ExistingAncestor(path).c_str(), &info) == 0) {
      Need& need = needs[info.st_dev];
      need.path = path;
      need.bytes += bytes;
    }
  };
  std::uint64_t elsewhere = 0;
  for (const Tablespace& tablespace : plan.tablespaces) {
    add(tablespace.path, tablespace.size);
    elsewhere += tablespace.size;
  }
  add(plan.target_directory, plan.size - std::min(elsewhere, plan.size));
  for (const auto& [device, need] : needs) {
    struct statvfs info {};
    if (statvfs(ExistingAncestor(need.path).c_str(), &info) != 0) {
      return ErrnoError(errno, fmt::format("could not examine file system of \"{}\"", need.path));
    }
    const std::uint64_t available = std::uint64_t{info.f_bavail} * info.f_frsize;
    if (available < need.bytes) {
      return MakeError(
                 ErrorCode::kNoSpace,
                 "backup \"{}\" needs {} bytes on the file system of \"{}\", which has {} left",
                 plan.backup.label, need.bytes, need.path, available)
          .WithHint("Free some space, or choose another directory. Nothing was written.");
    }
  }
  return Ok();
}

// The timeline that recovery will end on, and its history.
Result<TimelineHistory> FollowTimeline(const WalArchive& archive, const TargetTimeline& wanted,
                                       TimelineId backup_timeline) {
  TimelineId timeline = backup_timeline;
  switch (wanted.kind) {
    case TargetTimeline::Kind::kCurrent:
      break;
    case TargetTimeline::Kind::kNumber:
      timeline = wanted.number;
      break;
    case TargetTimeline::Kind::kLatest: {
      ASSIGN_OR_RETURN(timeline, FindNewestTimeline(archive, backup_timeline));
      break;
    }
  }
  Result<TimelineHistory> history = ReadTimelineHistory(archive, timeline);
  if (!history && history.error().code == ErrorCode::kNotFound) {
    return MakeError(ErrorCode::kNotFound, "there is no timeline {} in the repository", timeline)
        .WithHint("Choose another --target-timeline; \"vezactl info\" lists those there are.");
  }
  if (!history) {
    return ExplainHistoryError(timeline, std::move(history.error()));
  }
  return history;
}

// Most of a diff is in its full backup.
Status RequireFull(const Repository& repository, const BackupSummary& backup) {
  if (backup.type != BackupType::kDiff) {
    return Ok();
  }
  const std::string label = backup.full_label();
  Result<BackupSummary> full = ReadBackup(repository, label);
  if (!full && full.error().code == ErrorCode::kNotFound) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "full backup \"{}\", which backup \"{}\" refers to, is not in the repository",
                     label, backup.label)
        .WithHint("A diff cannot be restored without its full backup. Choose another one.");
  }
  RETURN_IF_ERROR(full);
  if (full->manifest_sha256 != backup.full_manifest_sha256) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "full backup \"{}\" is not the one that backup \"{}\" refers to", label,
                     backup.label)
        .WithHint("It was replaced after the diff was made. Choose another backup.");
  }
  return Ok();
}

Status RequireWal(const WalArchive& archive, const BackupSummary& backup) {
  ASSIGN_OR_RETURN(
      const std::vector<std::string> missing,
      archive.Missing(backup.timeline, SegmentOf(backup.start_lsn, backup.wal_segment_size),
                      SegmentBefore(backup.stop_lsn, backup.wal_segment_size),
                      backup.wal_segment_size, 1));
  if (!missing.empty()) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "WAL segment \"{}\", which backup \"{}\" needs, is not in the repository",
                     missing.front(), backup.label)
        .WithHint("Without it this backup cannot become consistent. Choose another one.");
  }
  return Ok();
}

// Behind the last segment that recovery would read, when none is missing on its way.
SegmentNumber EndOfWay(const std::vector<WalRange>& ranges, const TimelineHistory& history,
                       std::uint64_t segment_size) {
  SegmentNumber end = 0;
  for (const WalRange& range : ranges) {
    const SegmentNumber behind = SegmentNumberOf(range.last, segment_size) + 1;
    if (range.timeline == history.timeline) {
      end = std::max(end, behind);
    }
    for (const TimelineSwitch& ancestor : history.ancestors) {
      if (ancestor.timeline == range.timeline) {
        end = std::max(end, std::min(behind, SegmentOf(ancestor.switch_point, segment_size)));
      }
    }
  }
  return end;
}

struct WayToTarget {
  RecoveryObstacle obstacle;  // what there is before the target, as far as that can be told
  SegmentNumber end = 0;      // the first segment that recovery cannot have
  TimePoint last_stored{};    // when the store got the last WAL of the cluster
};

// What happened after a segment was stored is not in it. The server's clock and the store's may
// differ.
bool IsBehind(const WayToTarget& way, const RecoveryTarget& target, std::uint64_t segment_size) {
  constexpr std::chrono::minutes kClocksDiffer{5};
  switch (target.kind) {
    case TargetKind::kLsn:
      return SegmentOf(target.lsn, segment_size) >= way.end;
    case TargetKind::kTime:
      return way.last_stored + kClocksDiffer < target.time;
    case TargetKind::kEndOfWal:
    case TargetKind::kImmediate:
    case TargetKind::kXid:
    case TargetKind::kName:
      break;
  }
  return false;
}

// Of timelines, only the history counts that recovery follows.
Result<WayToTarget> FindWay(const Repository& repository, const WalArchive& archive,
                            const BackupSummary& backup, const TimelineHistory& history,
                            const RecoveryTarget& target) {
  const std::uint64_t size = backup.wal_segment_size;
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(size, backup.start_wal));
  ASSIGN_OR_RETURN(std::vector<MinimalWal> minimal,
                   ReadMinimalWal(repository, backup.system_identifier));
  WayToTarget way;
  RecoveryObstacle& obstacle = way.obstacle;
  obstacle = ObstacleAfter(backup, ArchiveMap(size, ranges, {history}, std::move(minimal)));
  const std::string& segment = obstacle.missing_segment;
  for (const WalRange& range : ranges) {
    way.last_stored = std::max(way.last_stored, range.last_stored);
  }
  way.end = segment.empty() ? EndOfWay(ranges, history, size) : SegmentNumberOf(segment, size);
  if (target.kind != TargetKind::kLsn) {
    return way;
  }
  if (!segment.empty() && target.lsn.value < SegmentNumberOf(segment, size) * size) {
    obstacle.missing_segment.clear();
  }
  // Recovery stops before the record at the target, or behind it.
  if (obstacle.minimal &&
      (target.lsn < *obstacle.minimal || (target.lsn == *obstacle.minimal && !target.inclusive))) {
    obstacle.minimal.reset();
  }
  return way;
}

// Whether recovery from the older backup comes to where the newer one begins. Then it leads to
// every target to which the newer one leads.
Result<bool> LeadsTo(const Repository& repository, const WalArchive& archive,
                     const BackupSummary& older, const BackupSummary& newer,
                     const TimelineHistory& history) {
  for (const Status& whole : {RequireFull(repository, older), RequireWal(archive, older)}) {
    if (!whole && whole.error().code == ErrorCode::kDataCorrupted) {
      return false;
    }
    RETURN_IF_ERROR(whole);
  }
  ASSIGN_OR_RETURN(const WayToTarget way,
                   FindWay(repository, archive, older, history, {.kind = TargetKind::kEndOfWal}));
  ASSIGN_OR_RETURN(const std::vector<TimelineId> missing,
                   FindMissingHistories(archive, older.timeline));
  const auto is_missing_between = [&](TimelineId timeline) { return timeline <= newer.timeline; };
  return older.wal_segment_size == newer.wal_segment_size &&
         way.end > SegmentOf(newer.start_lsn, newer.wal_segment_size) &&
         (!way.obstacle.minimal || *way.obstacle.minimal >= newer.start_lsn) &&
         std::ranges::none_of(missing, is_missing_between);
}

// What is found beside the backup.
struct Found {
  TimelineHistory history;  // of the timeline that recovery follows
  std::string doubt;
  std::string passed_over;
};

// With the backup that was asked for, also when the others left no room for it.
Result<BackupCatalog> ReadCandidates(const Repository& repository, const RestoreOptions& options) {
  ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(repository));
  if (options.backup_label.empty()) {
    return catalog;
  }
  // For the better error: damaged, unfinished, or not there.
  ASSIGN_OR_RETURN(BackupSummary asked_for, ReadBackup(repository, options.backup_label));
  if (std::ranges::find(catalog.backups, asked_for.label, &BackupSummary::label) ==
      catalog.backups.end()) {
    KeepOnly(SummaryParts::kFacts, &asked_for);
    catalog.backups.push_back(std::move(asked_for));
    SortBackups(catalog.backups);
  }
  return catalog;
}

Result<BackupSummary> Choose(const Repository& repository, const WalArchive& archive,
                             const RestoreOptions& options, std::uint64_t system_identifier,
                             Found* found) {
  ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadCandidates(repository, options));
  std::vector<BackupSummary> backups;
  TimelineId last_timeline = 0;
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.system_identifier == system_identifier) {
      backups.push_back(backup);
      if (options.backup_label.empty() || options.backup_label == backup.label) {
        last_timeline = std::max(last_timeline, backup.timeline);
      }
    }
  }
  const bool follows_backup = options.target.timeline.kind == TargetTimeline::Kind::kCurrent;
  if (!follows_backup && last_timeline != 0) {
    ASSIGN_OR_RETURN(found->history,
                     FollowTimeline(archive, options.target.timeline, last_timeline));
  }
  const TimelineHistory* const history = follows_backup ? nullptr : &found->history;
  const auto choose = [&](DoubtfulBackups doubtful) {
    return ChooseBackup(backups, options.target, options.backup_label, history, doubtful);
  };
  ASSIGN_OR_RETURN(BackupSummary backup, choose(DoubtfulBackups::kTake));
  if (follows_backup) {
    ASSIGN_OR_RETURN(found->history,
                     FollowTimeline(archive, options.target.timeline, backup.timeline));
  }
  found->doubt = WhyDoubtful(backup, backups);
  found->passed_over.clear();
  ASSIGN_OR_RETURN(BackupSummary older, choose(options.doubtful_backups));
  if (older.label == backup.label) {
    return backup;
  }
  ASSIGN_OR_RETURN(const bool leads, LeadsTo(repository, archive, older, backup, found->history));
  if (!leads) {
    return backup;  // with its doubt, rather than less than there is
  }
  found->passed_over = std::exchange(found->doubt, WhyDoubtful(older, backups));
  return older;
}

Error MissingHistoryError(TimelineId missing, TimelineId newest) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "timeline history file \"{}\" is missing in the repository, so nobody can tell "
                   "what leads to timeline {}",
                   TimelineHistoryName(missing), newest)
      .WithHint(fmt::format(
          "A primary that still has the file in its pg_wal stores it again within an hour, or when "
          "it is started. Without the file, say with --target-timeline where recovery is to end: "
          "{} ends before timeline {} began.",
          missing - 1, missing));
}

// PostgreSQL looks for the latest timeline by number and stops at the first one that has no history
// file: what came after it would be lost without a word. A history file may be on its way.
Result<BackupSummary> ChooseWithHistories(const Repository& repository, const WalArchive& archive,
                                          const RestoreOptions& options,
                                          std::uint64_t system_identifier, Found* found) {
  ASSIGN_OR_RETURN(BackupSummary backup,
                   Choose(repository, archive, options, system_identifier, found));
  if (options.target.timeline.kind != TargetTimeline::Kind::kLatest) {
    return backup;
  }
  ASSIGN_OR_RETURN(std::vector<TimelineId> missing, FindMissingHistories(archive, backup.timeline));
  if (missing.empty()) {
    RETURN_IF_ERROR(RequireReadableHistories(archive, backup.timeline, found->history.timeline));
    return backup;
  }
  const Environment& environment = repository.environment();
  environment.clock->Sleep(kUploadGrace, environment.cancellation.get());
  ASSIGN_OR_RETURN(backup, Choose(repository, archive, options, system_identifier, found));
  ASSIGN_OR_RETURN(missing, FindMissingHistories(archive, backup.timeline));
  if (!missing.empty()) {
    ASSIGN_OR_RETURN(const std::vector<TimelineId> timelines, archive.Timelines());
    return MissingHistoryError(missing.front(), timelines.back());
  }
  RETURN_IF_ERROR(RequireReadableHistories(archive, backup.timeline, found->history.timeline));
  return backup;
}

// The latest timeline, when nobody has said another one, is not what is meant when the target is on
// another one: then `target` names that.
Result<BackupSummary> ChooseBackupAndTimeline(const Repository& repository,
                                              const WalArchive& archive,
                                              const RestoreOptions& options,
                                              std::uint64_t system_identifier, Found* found,
                                              RecoveryTarget* target) {
  ASSIGN_OR_RETURN(BackupSummary backup,
                   ChooseWithHistories(repository, archive, options, system_identifier, found));
  if (options.target.timeline.kind != TargetTimeline::Kind::kLatest) {
    return backup;
  }
  ASSIGN_OR_RETURN(BackupCatalog catalog, ReadCandidates(repository, options));
  std::erase_if(catalog.backups, [&](const BackupSummary& other) {
    return other.system_identifier != system_identifier ||
           (!options.backup_label.empty() && other.label != options.backup_label);
  });
  ASSIGN_OR_RETURN(const std::optional<TimelineId> branch,
                   FindBranch(archive, catalog.backups, backup, found->history, options.target));
  if (!branch) {
    return backup;
  }
  target->timeline = {TargetTimeline::Kind::kNumber, *branch};
  RestoreOptions on_branch = options;
  on_branch.target = *target;
  return Choose(repository, archive, on_branch, system_identifier, found);
}

// A segment may be on its way.
Result<WayToTarget> FindWayTwice(const Repository& repository, const WalArchive& archive,
                                 const BackupSummary& backup, const TimelineHistory& history,
                                 const RecoveryTarget& target) {
  if (target.kind == TargetKind::kImmediate) {
    return WayToTarget{};
  }
  ASSIGN_OR_RETURN(const WayToTarget first, FindWay(repository, archive, backup, history, target));
  if (first.obstacle.missing_segment.empty()) {
    return first;
  }
  const Environment& environment = repository.environment();
  environment.clock->Sleep(kUploadGrace, environment.cancellation.get());
  ASSIGN_OR_RETURN(WayToTarget second, FindWay(repository, archive, backup, history, target));
  if (second.obstacle.missing_segment != first.obstacle.missing_segment) {
    second.obstacle.missing_segment.clear();
  }
  return second;
}

// Whether the target is certainly behind all that recovery may stop at.
bool IsBehindEverything(const RecoveryTarget& target) {
  return target.kind == TargetKind::kEndOfWal || target.kind == TargetKind::kLsn;
}

Status RequireWayToTarget(const RecoveryObstacle& obstacle, const RestoreOptions& options) {
  if (!IsBehindEverything(options.target)) {
    return Ok();
  }
  if (obstacle.minimal) {
    return MakeError(
               ErrorCode::kFailedPrecondition,
               "recovery to {} would need WAL that was written with wal_level = minimal, from "
               "{} on",
               DescribeTarget(options.target), FormatLsn(*obstacle.minimal))
        .WithHint(fmt::format(
            "PostgreSQL stops there with an error. Choose a backup that was taken after it, or "
            "recover up to it: --target-lsn {} --target-exclusive.",
            FormatLsn(*obstacle.minimal)));
  }
  // A standby may get the missing segment from a primary.
  if (obstacle.missing_segment.empty() || options.end_at_gap || options.standby) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "recovery to {} would need WAL segment \"{}\", which is missing in the "
                   "repository although later ones are there",
                   DescribeTarget(options.target), obstacle.missing_segment)
      .WithHint(
          "Choose a newer backup (\"vezactl info\" shows from when to when one can restore), or "
          "add --end-at-gap to recover only as far as there is WAL.");
}

Error RemovedMeanwhile(std::string message) {
  return Error{ErrorCode::kDataCorrupted, std::move(message),
               "Somebody has deleted it, or retention on a node with an older version of "
               "veza_backup, or the restore could not hold a lease. Restore another backup; pin "
               "the one you need with veza_backup_keep()."};
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

// Without it PostgreSQL refuses to start, or follows another way.
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
                     "a delta of some databases would empty the others where they are")
        .WithHint("Restore into a directory of its own, without --delta.");
  }
  return Ok();
}

// A database has a PG_VERSION, wherever its directory is.
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

// Takes off the sizes what comes back empty; backup.json does not tell it by tablespace. Refuses
// what does not come back although it is wanted.
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

Status PlaceWalOf(RestorePlan& plan, const RestoreOptions& options) {
  ASSIGN_OR_RETURN(WalDirectory wal, PlaceWal(plan.target_directory, options.wal_directory,
                                              plan.tablespaces, options.delta));
  if (!wal.path.empty()) {
    RETURN_IF_ERROR(RequireUsableDirectory(wal.path));
  }
  plan.wal_directory = std::move(wal.path);
  plan.keeps_wal_link = wal.is_linked;
  return Ok();
}

// To be called with the locks: another restore may have filled a place before.
Status TakeOwnPlaces(RestorePlan& plan, const RestoreOptions& options) {
  std::vector<OuterPlace> places;
  for (std::size_t i = 0; i < plan.tablespaces.size(); ++i) {
    places.push_back(PlaceOf(plan.backup.tablespaces[i], plan.tablespaces[i].path, options));
    const OuterPlace& place = places.back();
    std::error_code error;
    if (std::string leads_to = TextOfLink(place.link);
        !leads_to.empty() && !place.is_named &&
        !std::filesystem::equivalent(place.link, place.directory, error)) {
      plan.left_links.push_back({place.link, std::move(leads_to)});
    }
  }
  if (!plan.wal_directory.empty()) {
    places.push_back({plan.wal_directory, plan.target_directory + "/pg_wal",
                      "--waldir " + QuoteForShell(plan.wal_directory),
                      !options.wal_directory.empty()});
  }
  ASSIGN_OR_RETURN(plan.replaced_places, RequireOwnPlaces(plan.target_directory, places));
  return Ok();
}

// Another restore may have ended since these directories were looked at.
Status LockOthers(RestorePlan& plan) {
  for (const std::string& directory : plan.OtherDirectories()) {
    ASSIGN_OR_RETURN(plan.locks[directory], LockTarget(directory));
    ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(directory));
    if (!empty && !plan.delta) {
      return FilledMeanwhile(directory);
    }
  }
  return Ok();
}

// All that may forbid a delta is found before it removes anything.
Status PlanSweep(const Repository& repository, RestorePlan& plan) {
  ASSIGN_OR_RETURN(PathSet paths, ReadPaths(repository, plan));
  ASSIGN_OR_RETURN(SweepFindings findings, FindWhatDoesNotBelong(paths, plan));
  RETURN_IF_ERROR(RequireSweepable(findings, plan));
  plan.paths = std::make_shared<const PathSet>(std::move(paths));
  plan.findings = std::make_shared<const SweepFindings>(std::move(findings));
  return Ok();
}

}  // namespace

namespace {

// PostgreSQL reads ahead of what it replays, so it may ask for a missing segment before it has come
// to a target in front of it. Where it does not come to its target it stops with an error; to the
// end of WAL it would end early without a word.
bool EndsAtGap(const RestorePlan& plan, const RestoreOptions& options) {
  if (options.standby) {
    return options.end_at_gap && !plan.missing_segment.empty();
  }
  return options.target.kind != TargetKind::kEndOfWal ||
         (options.end_at_gap && !plan.missing_segment.empty());
}

}  // namespace

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

// What is not there was removed only if the repository itself is still there.
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
  // With its databases and settings, which the catalog does not hold.
  ASSIGN_OR_RETURN(plan.backup, ReadBackup(repository, chosen.label));
  const TimelineHistory& history = found.history;
  plan.doubt = found.doubt;
  plan.passed_over = found.passed_over;
  plan.target_timeline = history.timeline;
  if (options.target.timeline.kind == TargetTimeline::Kind::kCurrent) {
    // The same for PostgreSQL; wal-get cannot know which one is meant by the word
    // (recovery_path.h).
    plan.recovery.target.timeline = {TargetTimeline::Kind::kNumber, history.timeline};
  }
  plan.size = plan.backup.size;
  if (!options.databases.empty()) {
    ASSIGN_OR_RETURN(plan.databases, ChooseDatabases(plan.backup, options.databases));
  }
  RETURN_IF_ERROR(RequireFull(repository, plan.backup));
  RETURN_IF_ERROR(RequireWal(archive, plan.backup));
  ASSIGN_OR_RETURN(const WayToTarget way,
                   FindWayTwice(repository, archive, plan.backup, history, options.target));
  RETURN_IF_ERROR(RequireWayToTarget(way.obstacle, options));
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
  // A delta takes the place of what is there, and nobody knows how much of it.
  if (!options.delta) {
    RETURN_IF_ERROR(RequireSpace(plan));
  }

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
  RETURN_IF_ERROR(RequireFull(repository, plan.backup));
  const WalArchive archive(repository, plan.backup.system_identifier);
  RETURN_IF_ERROR(RequireWal(archive, plan.backup));
  RETURN_IF_ERROR(RequireHistoryStillThere(archive, plan));
  if (plan.wal_end == 0) {
    return Ok();
  }
  // Also when it is the last segments that have gone, which leaves no gap. What lies behind the
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
