#include "core/restore/way_to_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <optional>
#include <utility>

#include "core/archive/archive_map.h"
#include "core/archive/stored_histories.h"
#include "core/backup/suspect_diff.h"
#include "core/codec/seal.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_order.h"
#include "core/repository/damage_record.h"
#include "core/repository/names.h"
#include "core/restore/choose_timeline.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

// The history of the timeline that recovery will end on.
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
        .WithHint("Choose another --target-timeline. \"vezactl info\" lists the timelines.");
  }
  if (!history) {
    return ExplainHistoryError(timeline, std::move(history.error()));
  }
  return history;
}

}  // namespace

Status RequireSources(const Repository& repository, const BackupSummary& backup) {
  for (const SourceBackup& source : backup.sources) {
    Result<BackupSummary> there = ReadBackup(repository, source.label);
    if (!there && there.error().code == ErrorCode::kNotFound) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "{}, which backup \"{}\" refers to, is not in the repository",
                       NameBackup(source.label), backup.label)
          .WithHint(fmt::format("A{} {} cannot be restored without it. Choose another one.",
                                backup.type == BackupType::kIncr ? "n" : "",
                                BackupTypeName(backup.type)));
    }
    RETURN_IF_ERROR(there);
    if (there->manifest_sha256 != source.manifest_sha256) {
      return MakeError(ErrorCode::kDataCorrupted, "{} is not the one that backup \"{}\" refers to",
                       NameBackup(source.label), backup.label)
          .WithHint(fmt::format("It was replaced after the {} was made. Choose another backup.",
                                BackupTypeName(backup.type)));
    }
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

namespace {

// The number after the last segment that recovery would read, when none is missing on its way.
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

}  // namespace

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

Result<WayToTarget> FindWay(const Repository& repository, const WalArchive& archive,
                            const BackupSummary& backup, const TimelineHistory& history,
                            const RecoveryTarget& target) {
  const std::uint64_t size = backup.wal_segment_size;
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(size, backup.start_wal));
  ASSIGN_OR_RETURN(std::vector<MinimalWal> minimal,
                   ReadMinimalWal(repository, backup.system_identifier));
  WayToTarget way;
  RecoveryObstacle& obstacle = way.obstacle;
  const ArchiveMap map(size, ranges, {history}, std::move(minimal));
  obstacle = ObstacleAfter(backup, map);
  way.pieces = WalOnTheWay(backup, map);
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
  // Recovery stops before the record at the target or after it.
  if (obstacle.minimal &&
      (target.lsn < *obstacle.minimal || (target.lsn == *obstacle.minimal && !target.inclusive))) {
    obstacle.minimal.reset();
  }
  return way;
}

namespace {

// Whether recovery from the older backup reaches the point where the newer one begins. Then it
// reaches every target that recovery from the newer one reaches.
Result<bool> LeadsTo(const Repository& repository, const WalArchive& archive,
                     const BackupSummary& older, const BackupSummary& newer,
                     const TimelineHistory& history) {
  for (const Status& whole : {RequireSources(repository, older), RequireWal(archive, older)}) {
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

// The catalog, with the backup that was asked for, even if the others left no room for it.
Result<BackupCatalog> ReadCandidates(const Repository& repository, const RestoreOptions& options) {
  ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(repository));
  if (options.backup_label.empty()) {
    return catalog;
  }
  // This gives the better error: damaged, unfinished, or absent.
  ASSIGN_OR_RETURN(BackupSummary asked_for, ReadBackup(repository, options.backup_label));
  if (std::ranges::find(catalog.backups, asked_for.label, &BackupSummary::label) ==
      catalog.backups.end()) {
    KeepOnly(SummaryParts::kFacts, &asked_for);
    catalog.backups.push_back(std::move(asked_for));
    SortBackups(catalog.backups);
  }
  return catalog;
}

// The backup and those of `backups` that it needs.
std::vector<BackupSummary> WithSources(const BackupSummary& backup,
                                       std::span<const BackupSummary> backups) {
  std::vector<BackupSummary> needed{backup};
  for (const BackupSummary& other : backups) {
    if (std::ranges::find(backup.sources, other.label, &SourceBackup::label) !=
        backup.sources.end()) {
      needed.push_back(other);
    }
  }
  return needed;
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
  ASSIGN_OR_RETURN(const LostParts damage, ReadKnownDamage(repository, backups));
  LostParts lost = damage;
  std::erase_if(lost, [](const auto& part) { return part.second.by == LostPart::By::kDoubt; });
  const auto tell_damage = [&](const BackupSummary& chosen) {
    found->damage = WhyNotRestorable(chosen, backups, damage);
    if (found->damage.empty()) {
      found->damage = WhyUncertain(chosen, damage);
    }
  };
  const auto choose = [&](DoubtfulBackups doubtful) {
    return ChooseBackup(backups, options.target, options.backup_label, history,
                        repository.environment().clock->Now(), doubtful, lost);
  };
  ASSIGN_OR_RETURN(BackupSummary backup, choose(DoubtfulBackups::kTake));
  if (follows_backup) {
    ASSIGN_OR_RETURN(found->history,
                     FollowTimeline(archive, options.target.timeline, backup.timeline));
  }
  found->doubt = WhyDoubtful(backup, backups);
  tell_damage(backup);
  found->passed_over.clear();
  ASSIGN_OR_RETURN(BackupSummary older, choose(options.doubtful_backups));
  // Only those are listed that would be taken: a repository may have very many packs.
  while (options.doubtful_backups == DoubtfulBackups::kPassOver && options.backup_label.empty()) {
    const std::size_t known = lost.size();
    ASSIGN_OR_RETURN(LostParts found_lost,
                     FindLostPartsOfFew(repository, WithSources(older, backups)));
    lost.merge(found_lost);
    if (lost.size() == known) {
      break;
    }
    ASSIGN_OR_RETURN(older, choose(options.doubtful_backups));
  }
  if (older.label == backup.label) {
    return backup;
  }
  ASSIGN_OR_RETURN(const bool leads, LeadsTo(repository, archive, older, backup, found->history));
  if (!leads) {
    return backup;  // with its doubt: the older one would not reach the target
  }
  found->passed_over = WhyNotRestorable(backup, backups, lost);
  if (found->passed_over.empty()) {
    found->passed_over = found->doubt;
  }
  found->doubt = WhyDoubtful(older, backups);
  tell_damage(older);
  return older;
}

Error MissingHistoryError(TimelineId missing, TimelineId newest) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "timeline history file \"{}\" is missing in the repository, so the path to "
                   "timeline {} is unknown",
                   TimelineHistoryName(missing), newest)
      .WithHint(
          fmt::format("A primary that still has the file in its pg_wal stores it again within an "
                      "hour, or when it is started. Without the file, choose with "
                      "--target-timeline where recovery ends: {} ends before timeline {} began.",
                      missing - 1, missing));
}

// PostgreSQL looks for the latest timeline by number, and stops at the first number without a
// history file. The timelines behind it would be lost without a message. So a missing history file
// is looked for twice, because it may be on its way, and then refused.
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

// A way may end in the segment in which the next one begins, at WAL with wal_level = minimal. The
// segment then counts for the later one, with all of its records.
void LeaveOutFrom(SegmentNumber segment, std::uint64_t segment_size,
                  std::vector<WalPiece>& pieces) {
  while (!pieces.empty() && pieces.back().first >= segment) {
    pieces.pop_back();
  }
  if (!pieces.empty() && pieces.back().last >= segment) {
    pieces.back().last = segment - 1;
    pieces.back().end = Lsn{segment * segment_size};
  }
}

// The way from the oldest backup that lies on the history to the end of WAL. `backups` gets those
// on it, in the order of WAL.
Result<std::vector<WalPiece>> WholeWay(const Repository& repository, const WalArchive& archive,
                                       const std::vector<BackupSummary>& candidates,
                                       const TimelineHistory& history,
                                       std::vector<const BackupSummary*>* backups) {
  for (const BackupSummary& backup : candidates) {
    const Status whole = history.Contains(backup.timeline, backup.stop_lsn)
                             ? RequireWal(archive, backup)
                             : MakeError(ErrorCode::kDataCorrupted, "not on the way");
    if (whole) {
      backups->push_back(&backup);
    } else if (whole.error().code != ErrorCode::kDataCorrupted) {
      return whole.error();
    }
  }
  std::ranges::sort(*backups, {}, [](const BackupSummary* backup) { return backup->stop_lsn; });
  // What comes before a gap leads to no newer backup, but perhaps to the target.
  std::vector<WalPiece> pieces;
  for (const BackupSummary* const backup : *backups) {
    if (!pieces.empty() && pieces.back().end > backup->start_lsn) {
      continue;
    }
    ASSIGN_OR_RETURN(const WayToTarget way, FindWay(repository, archive, *backup, history,
                                                    {.kind = TargetKind::kEndOfWal}));
    if (way.pieces.empty()) {
      continue;  // expired meanwhile
    }
    LeaveOutFrom(way.pieces.front().first, backup->wal_segment_size, pieces);
    pieces.insert(pieces.end(), way.pieces.begin(), way.pieces.end());
  }
  return pieces;
}

// Looks for the transaction or the restore point in WAL, and chooses the backup as for its LSN. If
// it cannot be found out where it is, the newest backup stays.
Result<BackupSummary> ChooseForPlace(const Repository& repository, const WalArchive& archive,
                                     const RestoreOptions& options, BackupSummary newest,
                                     Found* found) {
  ASSIGN_OR_RETURN(BackupCatalog catalog, ReadCandidates(repository, options));
  std::erase_if(catalog.backups, [&](const BackupSummary& backup) {
    return backup.system_identifier != newest.system_identifier ||
           backup.wal_segment_size != newest.wal_segment_size;
  });
  std::vector<const BackupSummary*> backups;
  ASSIGN_OR_RETURN(const std::vector<WalPiece> pieces,
                   WholeWay(repository, archive, catalog.backups, found->history, &backups));
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(newest.system_identifier));
  ASSIGN_OR_RETURN(WalWay way, WalWay::Open(repository, identity, pieces, {}));
  const Result<std::optional<Lsn>> place = FindTarget(way, backups, options.target);
  if (!place && !way.IsExhausted() && !IsOfTheObject(place.error())) {
    return place.error();
  }
  if (!place || !*place) {
    return newest;
  }
  RestoreOptions at_place = options;
  at_place.target.kind = TargetKind::kLsn;
  at_place.target.lsn = **place;
  at_place.target.timeline = {TargetTimeline::Kind::kNumber, found->history.timeline};
  // An older backup may lead to another restore point of the same name.
  at_place.doubtful_backups =
      options.target.kind == TargetKind::kName ? DoubtfulBackups::kTake : options.doubtful_backups;
  return Choose(repository, archive, at_place, newest.system_identifier, found);
}

}  // namespace

Result<BackupSummary> ChooseBackupAndTimeline(const Repository& repository,
                                              const WalArchive& archive,
                                              const RestoreOptions& options,
                                              std::uint64_t system_identifier, Found* found,
                                              RecoveryTarget* target) {
  ASSIGN_OR_RETURN(BackupSummary backup,
                   ChooseWithHistories(repository, archive, options, system_identifier, found));
  if ((options.target.kind == TargetKind::kXid || options.target.kind == TargetKind::kName) &&
      options.backup_label.empty()) {
    return ChooseForPlace(repository, archive, options, std::move(backup), found);
  }
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

Result<WayToTarget> FindWayTwice(const Repository& repository, const WalArchive& archive,
                                 const BackupSummary& backup, const TimelineHistory& history,
                                 const RecoveryTarget& target) {
  if (target.kind == TargetKind::kImmediate) {
    const std::uint64_t size = backup.wal_segment_size;
    return WayToTarget{.pieces = {{backup.timeline, SegmentOf(backup.start_lsn, size),
                                   SegmentBefore(backup.stop_lsn, size), backup.stop_lsn}}};
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

namespace {

// Whether recovery certainly meets every obstacle before it reaches the target.
bool IsBehindEverything(const RecoveryTarget& target) {
  return target.kind == TargetKind::kEndOfWal || target.kind == TargetKind::kLsn;
}

// Where the ending is not known, the segments that are there still say that WAL ends before them.
Status RequireLsnReached(const Ending& ending, const WayToTarget& way, const RecoveryTarget& target,
                         std::uint64_t segment_size) {
  if (!ending.unknown.empty() && !IsBehind(way, target, segment_size)) {
    return Ok();
  }
  const Lsn end = ending.unknown.empty() ? ending.end_of_wal : Lsn{way.end * segment_size};
  const std::string& missing = way.obstacle.missing_segment;
  return MakeError(ErrorCode::kFailedPrecondition,
                   "recovery cannot end at {}, because the WAL that it can read ends at LSN {}{}",
                   DescribeTarget(target), FormatLsn(end),
                   missing.empty() ? "" : fmt::format(": segment \"{}\" is missing", missing))
      .WithHint(
          "Without --target-lsn, recovery goes as far as that. If the server still runs, "
          "pg_switch_wal() there makes it archive what it has.");
}

}  // namespace

Status RequireReached(const Ending& ending, const WayToTarget& way, const RestoreOptions& options,
                      std::uint64_t segment_size) {
  if (options.standby || (ending.reached && !ending.before_consistent)) {
    return Ok();
  }
  if (options.target.kind == TargetKind::kLsn) {
    return RequireLsnReached(ending, way, options.target, segment_size);
  }
  if (!ending.unknown.empty()) {
    return Ok();
  }
  if (ending.reached) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "recovery would stop at {} before the backup is consistent, and fail",
                     DescribeTarget(options.target))
        .WithHint("Choose an older backup with --backup, or a later target.");
  }
  std::string last = ending.last_in ? fmt::format("the last commit that recovery can reach is {}",
                                                  DescribeCommit(*ending.last_in))
                                    : "recovery can reach no commit behind the backup";
  if (!way.obstacle.missing_segment.empty()) {
    last += fmt::format(", because WAL segment \"{}\" is missing", way.obstacle.missing_segment);
  }
  if (options.target.kind == TargetKind::kTime) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "no transaction in the repository ended {} {}, so recovery cannot end there; "
                     "{}",
                     options.target.inclusive ? "after" : "at or after",
                     DescribeTarget(options.target), last)
        .WithHint(
            "Without --target-time, recovery goes as far as that. If the server still runs, "
            "pg_switch_wal() there makes it archive what it has.");
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "{} is not in the WAL that leads on from the backup; {}",
                   DescribeTarget(options.target), last)
      .WithHint(
          options.target.kind == TargetKind::kXid
              ? "\"vezactl timeline --transactions\" lists what there is. A subtransaction that "
                "was released has no end of its own: name the transaction. Another timeline can be "
                "named with --target-timeline, an older backup with --backup."
              : "\"vezactl timeline\" lists what there is. Another timeline can be named with "
                "--target-timeline, an older backup with --backup.");
}

namespace {

// What lies behind a missing segment, if none of it can be WAL.
struct Junk {
  std::string object;  // the first one
  std::uint64_t size = 0;
  std::size_t objects = 0;  // 0: there is WAL
};

// Looks at the timelines of the way. Every WAL object begins with a header, so none is smaller.
Result<Junk> FindJunkBehind(const std::string& missing, const WalArchive& archive,
                            const BackupSummary& backup, const TimelineHistory& history) {
  constexpr SegmentNumber kNoLast = std::numeric_limits<SegmentNumber>::max();
  const std::uint64_t size = backup.wal_segment_size;
  const SegmentNumber first = SegmentNumberOf(missing, size) + 1;
  std::vector<std::pair<TimelineId, SegmentNumber>> timelines;  // and where each ends
  for (const TimelineSwitch& ancestor : history.ancestors) {
    timelines.emplace_back(ancestor.timeline, SegmentBefore(ancestor.switch_point, size));
  }
  timelines.emplace_back(history.timeline, kNoLast);
  Junk junk;
  for (const auto& [timeline, last] : timelines) {
    ASSIGN_OR_RETURN(const std::vector<StoredSegment> behind,
                     archive.Stored(timeline, first, last, size));
    for (const StoredSegment& segment : behind) {
      if (segment.size >= kObjectHeaderSize) {
        return Junk();
      }
      if (junk.objects++ == 0) {
        junk.size = segment.size;
        ASSIGN_OR_RETURN(junk.object, WalObjectName(backup.system_identifier,
                                                    SegmentName(timeline, segment.number, size)));
      }
    }
  }
  return junk;
}

}  // namespace

Status RequireWayToTarget(const RecoveryObstacle& obstacle, const WalArchive& archive,
                          const BackupSummary& backup, const TimelineHistory& history,
                          const RestoreOptions& options) {
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
  // A standby may get the missing segment from its primary.
  if (obstacle.missing_segment.empty() || options.end_at_gap || options.standby) {
    return Ok();
  }
  ASSIGN_OR_RETURN(const Junk junk,
                   FindJunkBehind(obstacle.missing_segment, archive, backup, history));
  if (junk.objects > 0) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "recovery to {} would need WAL segment \"{}\", which is missing in the "
                     "repository. Behind it there is only junk: object \"{}\" has {} bytes, and "
                     "no WAL is stored in so few{}",
                     DescribeTarget(options.target), obstacle.missing_segment, junk.object,
                     junk.size,
                     junk.objects > 1 ? fmt::format("; likewise {} more", junk.objects - 1) : "")
        .WithHint(
            "If no server has archived WAL there, delete what is junk. Otherwise choose a newer "
            "backup. --end-at-gap recovers up to the missing segment.");
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "recovery to {} would need WAL segment \"{}\", which is missing in the "
                   "repository although later ones are there",
                   DescribeTarget(options.target), obstacle.missing_segment)
      .WithHint(
          "Choose a newer backup (\"vezactl info\" shows the times that can be restored), or add "
          "--end-at-gap to recover up to the gap.");
}

}  // namespace veza
