#include "core/archive/archive_map.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "core/archive/stored_histories.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr Lsn kEndOfTime{std::numeric_limits<std::uint64_t>::max()};

// Sorts the runs, and joins those that touch.
std::vector<SegmentRun> Joined(std::vector<SegmentRun> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const SegmentRun& a, const SegmentRun& b) { return a.first < b.first; });
  std::vector<SegmentRun> joined;
  for (const SegmentRun& run : runs) {
    if (joined.empty() || run.first > joined.back().last + 1) {
      joined.push_back(run);
    } else {
      joined.back().last = std::max(joined.back().last, run.last);
    }
  }
  return joined;
}

}  // namespace

ArchiveMap::ArchiveMap(std::uint64_t segment_size, const std::vector<WalRange>& ranges,
                       std::vector<TimelineHistory> histories, std::vector<MinimalWal> minimal)
    : segment_size_(segment_size), minimal_(std::move(minimal)) {
  for (const WalRange& range : ranges) {
    runs_[range.timeline].push_back({SegmentNumberOf(range.first, segment_size),
                                     SegmentNumberOf(range.last, segment_size), range.last_stored});
    histories_[range.timeline].timeline = range.timeline;
  }
  for (TimelineHistory& history : histories) {
    histories_[history.timeline] = std::move(history);
  }
}

std::optional<Lsn> ArchiveMap::FirstMinimal(TimelineId timeline, Lsn begin, Lsn end) const {
  std::optional<Lsn> first;
  for (const MinimalWal& one : minimal_) {
    // A record in doubt may mean any place in its segment.
    const Lsn lsn = one.doubt && begin < one.end ? std::max(begin, one.lsn) : one.lsn;
    if (one.timeline == timeline && begin <= lsn && lsn < end) {
      first = std::min(first.value_or(lsn), lsn);
    }
  }
  return first;
}

const std::vector<SegmentRun>& ArchiveMap::RunsOf(TimelineId timeline) const {
  static const std::vector<SegmentRun> none;
  const auto found = runs_.find(timeline);
  return found == runs_.end() ? none : found->second;
}

const SegmentRun* ArchiveMap::RunAt(TimelineId timeline, SegmentNumber segment) const {
  const std::vector<SegmentRun>& runs = RunsOf(timeline);
  const auto run = std::ranges::lower_bound(runs, segment, {}, &SegmentRun::last);
  return run != runs.end() && run->first <= segment ? &*run : nullptr;
}

bool ArchiveMap::HasAny(TimelineId timeline, SegmentNumber first, SegmentNumber last) const {
  const std::vector<SegmentRun>& runs = RunsOf(timeline);
  const auto run = std::ranges::lower_bound(runs, first, {}, &SegmentRun::last);
  return run != runs.end() && run->first <= last;
}

TimelineId ArchiveMap::NewestFrom(TimelineId timeline, Lsn lsn) const {
  for (auto history = histories_.rbegin(); history != histories_.rend(); ++history) {
    if (history->second.Contains(timeline, lsn)) {
      return history->first;
    }
  }
  return timeline;
}

std::vector<PathPart> ArchiveMap::PathTo(TimelineId timeline) const {
  std::vector<PathPart> path;
  Lsn begin;
  const auto history = histories_.find(timeline);
  if (history != histories_.end()) {
    for (const TimelineSwitch& ancestor : history->second.ancestors) {
      const Lsn end = std::max(begin, ancestor.switch_point);
      path.push_back({ancestor.timeline, begin, end});
      begin = end;
    }
  }
  path.push_back({timeline, begin, kEndOfTime});
  return path;
}

Lsn ArchiveMap::PartingOf(TimelineId one, TimelineId other) const {
  const std::vector<PathPart> ours = PathTo(one);
  const std::vector<PathPart> theirs = PathTo(other);
  Lsn parting;
  for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    if (ours[i].timeline != theirs[i].timeline) {
      break;
    }
    parting = std::min(ours[i].end, theirs[i].end);
    if (ours[i].end != theirs[i].end) {
      break;
    }
  }
  return parting;
}

SegmentNumber ArchiveMap::LastFork(TimelineId timeline) const {
  SegmentNumber last = 0;
  for (const auto& [child, history] : histories_) {
    for (const TimelineSwitch& ancestor : history.ancestors) {
      if (ancestor.timeline == timeline) {
        last = std::max(last, SegmentOf(ancestor.switch_point, segment_size_));
      }
    }
  }
  // A timeline that has segments behind the fork as well went on, as happens when a clone was
  // promoted. What is missing of it there is a gap.
  const SegmentRun* const run = RunAt(timeline, last);
  const bool went_on = run != nullptr && run->last > last;
  return last == 0 || went_on ? std::numeric_limits<SegmentNumber>::max() : last;
}

void ArchiveMap::AddGap(TimelineId timeline, SegmentNumber first, SegmentNumber end,
                        Gaps* gaps) const {
  end = std::min(end, LastFork(timeline));
  if (first < end) {
    (*gaps)[timeline].push_back({first, end - 1, {}});
  }
}

void ArchiveMap::AddGapsOfTimelines(Gaps* gaps) const {
  for (const auto& [timeline, runs] : runs_) {
    for (std::size_t i = 1; i < runs.size(); ++i) {
      AddGap(timeline, runs[i - 1].last + 1, runs[i].first, gaps);
    }
  }
}

void ArchiveMap::AddGapsOfPath(TimelineId timeline, Gaps* gaps) const {
  bool started = false;  // whether the archive holds a segment on the way so far
  for (const PathPart& part : PathTo(timeline)) {
    SegmentNumber next = SegmentOf(part.begin, segment_size_);
    const SegmentNumber end = SegmentOf(part.end, segment_size_);  // of the next part
    if (next >= end) {
      continue;
    }
    for (const SegmentRun& run : RunsOf(part.timeline)) {
      if (run.last < next) {
        continue;
      }
      if (run.first >= end) {
        break;
      }
      if (started) {
        AddGap(part.timeline, next, run.first, gaps);
      }
      started = true;
      next = run.last + 1;
    }
    // How far the last timeline has got is not known.
    if (started && part.end != kEndOfTime) {
      AddGap(part.timeline, next, end, gaps);
    }
  }
}

std::vector<ArchivePiece> ArchiveMap::Pieces() const {
  Gaps gaps;
  AddGapsOfTimelines(&gaps);
  for (const auto& [timeline, history] : histories_) {
    AddGapsOfPath(timeline, &gaps);
  }
  std::vector<ArchivePiece> pieces;
  for (const auto& [timeline, runs] : runs_) {
    for (const SegmentRun& run : runs) {
      pieces.push_back({timeline, false, run.first, run.last});
    }
  }
  for (auto& [timeline, runs] : gaps) {
    for (const SegmentRun& run : Joined(std::move(runs))) {
      pieces.push_back({timeline, true, run.first, run.last});
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const ArchivePiece& a, const ArchivePiece& b) {
    return std::pair(a.timeline, a.first) < std::pair(b.timeline, b.first);
  });
  return pieces;
}

Result<ArchiveMap> ReadArchiveMap(const Repository& repository, const Identity& identity,
                                  const std::vector<WalRange>& ranges) {
  const WalArchive archive(repository, identity.system_identifier);
  // A timeline that has just begun may have nothing but its history file.
  ASSIGN_OR_RETURN(const std::vector<TimelineId> timelines, archive.Timelines());
  std::vector<TimelineHistory> histories;
  std::size_t switches = 0;
  for (const TimelineId timeline : timelines) {
    Result<TimelineHistory> history = ReadTimelineHistory(archive, timeline);
    if (!history && history.error().code == ErrorCode::kNotFound) {
      continue;
    }
    RETURN_IF_ERROR(history);
    RETURN_IF_ERROR(CountSwitches(*history, &switches));
    histories.push_back(std::move(*history));
  }
  ASSIGN_OR_RETURN(std::vector<MinimalWal> minimal,
                   ReadMinimalWal(repository, identity.system_identifier));
  return ArchiveMap(identity.wal_segment_size, ranges, std::move(histories), std::move(minimal));
}

Result<ArchiveMap> ReadArchiveMap(const Repository& repository, const Identity& identity) {
  const WalArchive archive(repository, identity.system_identifier);
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(identity.wal_segment_size));
  return ReadArchiveMap(repository, identity, ranges);
}

}  // namespace veza
