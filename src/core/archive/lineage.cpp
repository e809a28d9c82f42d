#include "core/archive/lineage.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/repository/names.h"

namespace veza {

namespace {

Result<std::map<TimelineId, TimelineTrace>> FindTimelines(const Repository& repository,
                                                          std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const std::vector<std::string> directories,
                   repository.store().ListDirectories(WalSystemPrefix(system_identifier)));
  std::map<TimelineId, TimelineTrace> traces;
  for (const std::string& directory : directories) {
    // History files count, too: they arrive before the first segment of their timeline.
    if (const auto file = ParseWalFileName(directory + ".history")) {
      traces[file->timeline].timeline = file->timeline;
    }
  }
  return traces;
}

bool MeansUnknown(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kDataCorrupted ||
         error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kWrongKey ||
         error.code == ErrorCode::kPermissionDenied;
}

}  // namespace

Lineage::Lineage(std::uint64_t segment_size, std::vector<TimelineTrace> traces) {
  for (TimelineTrace& trace : traces) {
    const TimelineId timeline = trace.timeline;
    if (timeline == 1 && !trace.history) {
      trace.history = TimelineHistory{};
    }
    traces_.insert_or_assign(timeline, std::move(trace));
  }
  std::optional<TimePoint> newest;
  for (const auto& [timeline, trace] : traces_) {
    if (trace.last) {
      newest = std::max(newest.value_or(trace.last_stored), trace.last_stored);
    }
  }
  for (const auto& [timeline, trace] : traces_) {
    const bool has_just_begun = !trace.last && timeline == traces_.rbegin()->first;
    const bool grows =
        trace.last && *newest - trace.last_stored < kBranchAge && GrowsAlone(trace, segment_size);
    if (has_just_begun || grows) {
      alive_.push_back(timeline);
    }
  }
}

std::vector<TimelineId> Lineage::GrownSince(TimePoint time) const {
  std::vector<TimelineId> grown;
  for (const auto& [timeline, trace] : traces_) {
    if (trace.last && trace.last_stored >= time) {
      grown.push_back(timeline);
    }
  }
  return grown;
}

// Whether its newest segment lies at or behind every point where another timeline parted from it.
bool Lineage::GrowsAlone(const TimelineTrace& trace, std::uint64_t segment_size) const {
  return std::ranges::none_of(traces_, [&](const auto& other) {
    if (!other.second.history || other.first == trace.timeline) {
      return false;
    }
    const auto& ancestors = other.second.history->ancestors;
    const auto left = std::ranges::find(ancestors, trace.timeline, &TimelineSwitch::timeline);
    return left != ancestors.end() && *trace.last < SegmentOf(left->switch_point, segment_size);
  });
}

bool Lineage::IsKnown(TimelineId line) const {
  const auto trace = traces_.find(line);
  return line == 1 || (trace != traces_.end() && trace->second.history);
}

bool Lineage::Holds(TimelineId line, TimelineId timeline, Lsn lsn) const {
  if (line == timeline) {
    return true;
  }
  const auto trace = traces_.find(line);
  return trace != traces_.end() && trace->second.history &&
         trace->second.history->Contains(timeline, lsn);
}

bool Lineage::MayHold(TimelineId line, TimelineId timeline, Lsn lsn) const {
  return IsKnown(line) ? Holds(line, timeline, lsn) : timeline <= line;
}

Result<Lineage> ReadLineage(const Repository& repository, const Identity& identity) {
  const WalArchive archive(repository, identity.system_identifier);
  ASSIGN_OR_RETURN(auto traces, FindTimelines(repository, identity.system_identifier));
  if (traces.size() > 1) {
    ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(identity.wal_segment_size));
    for (const WalRange& range : ranges) {
      TimelineTrace& trace = traces[range.timeline];
      trace.timeline = range.timeline;
      trace.last = SegmentNumberOf(range.last, identity.wal_segment_size);
      trace.last_stored = range.last_stored;
    }
  }
  std::vector<TimelineTrace> list;
  std::size_t switches = 0;
  for (auto& [timeline, trace] : traces) {
    if (!trace.last) {
      // In a bucket with versioning, all files of the timeline may have been deleted.
      ASSIGN_OR_RETURN(
          const bool exists,
          HoldsObject(repository.store(), WalTimelinePrefix(identity.system_identifier, timeline)));
      if (!exists) {
        continue;
      }
    }
    Result<TimelineHistory> history = ReadTimelineHistory(archive, timeline);
    if (history) {
      RETURN_IF_ERROR(CountSwitches(*history, &switches));
      trace.history = std::move(*history);
    } else if (!MeansUnknown(history.error())) {
      return history.error();
    }
    list.push_back(std::move(trace));
  }
  return Lineage(identity.wal_segment_size, std::move(list));
}

}  // namespace veza
