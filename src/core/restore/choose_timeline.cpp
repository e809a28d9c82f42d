#include "core/restore/choose_timeline.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>
#include <utility>

#include "core/archive/archive_map.h"
#include "core/archive/stored_histories.h"
#include "core/wal/wal_scan.h"

namespace veza {
namespace {

// The most segments to read in search of the end of a transaction. An idle server writes segments
// that hold none.
constexpr SegmentNumber kMostSegments = 16;
// How much the store's clock and that of the server that wrote the WAL may differ. In doubt the WAL
// is read.
constexpr std::chrono::hours kClocksDiffer{24};
constexpr SegmentNumber kLastSegment = std::numeric_limits<SegmentNumber>::max();

Error AmbiguousError(const std::string& timelines, TimelineId path, const RecoveryTarget& target) {
  return MakeError(ErrorCode::kFailedPrecondition, "{} may be on more than one timeline: {}",
                   DescribeTarget(target), timelines)
      .WithHint(fmt::format("The timelines forked before the target, and each has continued. "
                            "Choose one with --target-timeline; the latest is {}.",
                            path));
}

class BranchFinder {
 public:
  BranchFinder(const WalArchive& archive, ArchiveMap map, const BackupSummary& backup,
               const TimelineHistory& path, const RecoveryTarget& target)
      : archive_(archive),
        map_(std::move(map)),
        size_(backup.wal_segment_size),
        backup_(backup),
        path_(path),
        target_(target) {}

  // `last_stored` is when the store received the last segment of the timeline.
  Result<Branch> Look(const TimelineHistory& history, SegmentNumber last, TimePoint last_stored) {
    Branch branch{.timeline = history.timeline};
    const Lsn parting = map_.PartingOf(path_.timeline, history.timeline);
    const Lsn begin = BeginOf(history);
    if (target_.kind == TargetKind::kLsn) {
      const auto holds = [&](bool yes) { return yes ? Answer::kYes : Answer::kNo; };
      branch.has_target_behind = holds(begin < target_.lsn);
      branch.reaches_target = holds(target_.lsn.value <= (last + 1) * size_);
      branch.path_has_target_behind = holds(parting < target_.lsn && PathHolds(target_.lsn));
      return branch;
    }
    ASSIGN_OR_RETURN(branch.has_target_behind,
                     BeginsBefore(history.timeline, begin, SegmentOf(begin, size_), last));
    if (branch.has_target_behind == Answer::kNo) {
      return branch;
    }
    if (last_stored + kClocksDiffer >= target_.time) {
      ASSIGN_OR_RETURN(branch.reaches_target, Reaches(history.timeline, begin, last));
    }
    ASSIGN_OR_RETURN(branch.path_has_target_behind, PathBeginsBefore(parting));
    return branch;
  }

  // Where the WAL of the timeline begins that is not on the path.
  Lsn BeginOf(const TimelineHistory& history) const {
    const auto on_path =
        std::ranges::find(path_.ancestors, history.timeline, &TimelineSwitch::timeline);
    if (on_path != path_.ancestors.end()) {
      return on_path->switch_point;
    }
    return history.ancestors.empty() ? Lsn{} : history.ancestors.back().switch_point;
  }

 private:
  // The times at which transactions in the segment ended, at or after `from`, in WAL order. nullopt
  // when the segment is missing.
  Result<std::optional<std::vector<TimePoint>>> Times(TimelineId timeline, SegmentNumber segment,
                                                      Lsn from) const {
    const Result<std::string> content = archive_.FetchText(SegmentName(timeline, segment, size_));
    if (!content && content.error().code == ErrorCode::kNotFound) {
      return std::optional<std::vector<TimePoint>>();
    }
    RETURN_IF_ERROR(content);
    std::vector<TimePoint> times;
    WalScanner scanner(Lsn{segment * size_}, [&](const WalEvent& event) {
      if (event.kind == WalEvent::Kind::kTransactionEnd && event.lsn >= from) {
        times.push_back(event.time);
      }
    });
    scanner.Feed(AsBytes(*content));
    scanner.Finish();
    return std::optional(std::move(times));
  }

  // Whether the first transaction that ended at or after `from` did so at or before the target.
  Result<Answer> BeginsBefore(TimelineId timeline, Lsn from, SegmentNumber first,
                              SegmentNumber last) const {
    for (SegmentNumber segment = first; segment <= last; ++segment) {
      if (segment - first >= kMostSegments) {
        return Answer::kUnknown;
      }
      ASSIGN_OR_RETURN(const auto times, Times(timeline, segment, from));
      // The segment of the fork may be missing if nothing was written after the fork.
      if (!times && segment != first) {
        return Answer::kUnknown;
      }
      if (times && !times->empty()) {
        return times->front() <= target_.time ? Answer::kYes : Answer::kNo;
      }
    }
    return Answer::kNo;
  }

  // Whether a transaction ended after the target. Recovery stops at the first one that did.
  Result<Answer> Reaches(TimelineId timeline, Lsn from, SegmentNumber last) const {
    const SegmentNumber first = SegmentOf(from, size_);
    for (SegmentNumber segment = last; segment + 1 > first; --segment) {
      if (last - segment >= kMostSegments) {
        return Answer::kUnknown;
      }
      ASSIGN_OR_RETURN(const auto times, Times(timeline, segment, from));
      if (times && !times->empty()) {
        // The times in WAL are not strictly in order.
        return *std::ranges::max_element(*times) > target_.time ? Answer::kYes : Answer::kNo;
      }
      if (segment == 0) {
        break;
      }
    }
    return Answer::kNo;
  }

  // The same along the path. The segment in which a timeline was left belongs to the next timeline.
  Result<Answer> PathBeginsBefore(Lsn from) const {
    if (path_.Contains(backup_.timeline, backup_.stop_lsn) && backup_.stop_lsn > from) {
      return Answer::kYes;  // the backup ended before the target
    }
    const SegmentNumber first = SegmentOf(from, size_);
    for (SegmentNumber segment = first; segment - first < kMostSegments; ++segment) {
      const TimelineId timeline = TimelineOnPath(path_, segment, size_);
      if (map_.RunAt(timeline, segment) == nullptr) {
        const bool is_end = !map_.HasAny(path_.timeline, segment, kLastSegment);
        return is_end ? Answer::kNo : Answer::kUnknown;
      }
      ASSIGN_OR_RETURN(const auto times, Times(timeline, segment, from));
      if (times && !times->empty()) {
        return times->front() <= target_.time ? Answer::kYes : Answer::kNo;
      }
    }
    return Answer::kUnknown;
  }

  bool PathHolds(Lsn lsn) const {
    const SegmentNumber segment = SegmentBefore(lsn, size_);
    return map_.RunAt(TimelineOnPath(path_, segment, size_), segment) != nullptr;
  }

  const WalArchive& archive_;
  const ArchiveMap map_;
  const std::uint64_t size_;
  const BackupSummary& backup_;
  const TimelineHistory& path_;
  const RecoveryTarget& target_;
};

// Whether recovery along the history can start from one of the backups, given this target.
bool IsReachable(const TimelineHistory& history, std::span<const BackupSummary> backups,
                 const RecoveryTarget& target) {
  return std::ranges::any_of(backups, [&](const BackupSummary& backup) {
    return history.Contains(backup.timeline, backup.stop_lsn) &&
           (target.kind == TargetKind::kTime ? backup.stop_time <= target.time
                                             : backup.stop_lsn <= target.lsn);
  });
}

}  // namespace

Result<std::optional<TimelineId>> ChooseBranch(std::span<const Branch> branches, TimelineId path,
                                               const RecoveryTarget& target) {
  std::optional<TimelineId> chosen;
  std::string timelines;
  bool in_doubt = false;
  bool path_holds = false;
  for (const Branch& branch : branches) {
    const bool path_is_behind = branch.path_has_target_behind == Answer::kYes;
    // A branch that ended before the target, while the path goes on to it: a failover has left that
    // branch. For an LSN, a branch that ends before the target is no candidate in any case.
    const bool is_over =
        branch.reaches_target == Answer::kNo && (path_is_behind || target.kind == TargetKind::kLsn);
    if (branch.has_target_behind == Answer::kNo || is_over) {
      continue;
    }
    timelines += fmt::format("{}{}", timelines.empty() ? "" : ", ", branch.timeline);
    path_holds = path_holds || branch.path_has_target_behind != Answer::kNo;
    in_doubt = in_doubt || chosen || branch.has_target_behind == Answer::kUnknown ||
               branch.reaches_target != Answer::kYes;
    chosen = branch.timeline;
  }
  if (!chosen) {
    return chosen;
  }
  if (in_doubt || path_holds) {
    return AmbiguousError(fmt::format("{}, {}", timelines, path), path, target);
  }
  return chosen;
}

Result<std::optional<TimelineId>> FindBranch(const WalArchive& archive,
                                             std::span<const BackupSummary> backups,
                                             const BackupSummary& backup,
                                             const TimelineHistory& path,
                                             const RecoveryTarget& target) {
  if (target.kind != TargetKind::kTime && target.kind != TargetKind::kLsn) {
    return std::optional<TimelineId>();
  }
  ASSIGN_OR_RETURN(const std::vector<TimelineId> timelines, archive.Timelines());
  // The backups may have been removed meanwhile.
  if (timelines.size() < 2 || backups.empty()) {
    return std::optional<TimelineId>();
  }
  const std::uint64_t size = backup.wal_segment_size;
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(size));
  // No backup leads to a timeline that is older than all backups.
  const TimelineId oldest =
      std::ranges::min(backups, {}, [](const BackupSummary& one) { return one.timeline; }).timeline;
  std::vector<TimelineHistory> histories;
  std::size_t switches = 0;
  for (const TimelineId timeline : timelines) {
    if (timeline < oldest) {
      continue;
    }
    Result<TimelineHistory> history = ReadTimelineHistory(archive, timeline);
    if (!history && history.error().code == ErrorCode::kNotFound) {
      continue;
    }
    if (!history) {
      return ExplainHistoryError(timeline, std::move(history.error()));
    }
    RETURN_IF_ERROR(CountSwitches(*history, &switches));
    histories.push_back(std::move(*history));
  }
  BranchFinder finder(archive, ArchiveMap(size, ranges, histories), backup, path, target);
  std::vector<Branch> branches;
  for (const TimelineHistory& history : histories) {
    if (history.timeline == path.timeline || !IsReachable(history, backups, target)) {
      continue;
    }
    // The last range of the timeline's WAL that is not on the path.
    const auto last =
        std::ranges::find(ranges.rbegin(), ranges.rend(), history.timeline, &WalRange::timeline);
    if (last == ranges.rend() ||
        SegmentNumberOf(last->last, size) < SegmentOf(finder.BeginOf(history), size)) {
      continue;
    }
    ASSIGN_OR_RETURN(const Branch branch,
                     finder.Look(history, SegmentNumberOf(last->last, size), last->last_stored));
    branches.push_back(branch);
  }
  return ChooseBranch(branches, path.timeline, target);
}

bool IsDamagedHistory(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kUnsupported ||
         error.code == ErrorCode::kWrongKey;
}

Error ExplainHistoryError(TimelineId timeline, Error error) {
  if (!IsDamagedHistory(error)) {
    return error;
  }
  return std::move(error)
      .WithContext(fmt::format(
          "timeline history file \"{}\" cannot be read, so the origin of timeline {} is unknown",
          TimelineHistoryName(timeline), timeline))
      .WithHint(
          "Choose another timeline with --target-timeline; \"vezactl info\" lists them. Or delete "
          "the object: a primary that still has the file in its pg_wal "
          "stores it again within an hour, or when it is started.");
}

Status RequireReadableHistories(const WalArchive& archive, TimelineId backup, TimelineId latest) {
  for (TimelineId timeline = backup + 1; timeline <= latest; ++timeline) {
    Result<TimelineHistory> history = ReadTimelineHistory(archive, timeline);
    // Missing history files are reported elsewhere.
    if (!history && history.error().code != ErrorCode::kNotFound) {
      return ExplainHistoryError(timeline, std::move(history.error()));
    }
  }
  return Ok();
}

}  // namespace veza
