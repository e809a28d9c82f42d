#include "core/archive/stored_histories.h"

#include <algorithm>

#include "core/limits.h"

namespace veza {

Result<TimelineHistory> ReadTimelineHistory(const WalArchive& archive, TimelineId timeline) {
  if (timeline == 1) {
    return TimelineHistory{};
  }
  ASSIGN_OR_RETURN(const std::string text, archive.FetchText(TimelineHistoryName(timeline)));
  return ParseTimelineHistory(timeline, text);
}

Result<TimelineHistory> ReadServerHistory(const WalArchive& archive,
                                          const std::string& wal_directory, TimelineId timeline) {
  if (timeline == 1) {
    return TimelineHistory{};
  }
  Result<TimelineHistory> history = ReadHistoryIn(wal_directory, timeline);
  if (!history && history.error().code == ErrorCode::kNotFound) {
    return ReadTimelineHistory(archive, timeline);
  }
  return history;
}

Result<TimelineId> FindNewestTimeline(const WalArchive& archive, TimelineId from) {
  for (TimelineId newest = from; newest - from < limits::kTimelines; ++newest) {
    ASSIGN_OR_RETURN(const bool exists, archive.Contains(TimelineHistoryName(newest + 1)));
    if (!exists) {
      return newest;
    }
  }
  return MakeError(ErrorCode::kDataCorrupted,
                   "the repository holds more than {} timelines behind timeline {}",
                   limits::kTimelines, from)
      .WithHint(kTooManyTimelinesHint);
}

Result<std::vector<TimelineId>> FindMissingHistories(const WalArchive& archive, TimelineId from) {
  // There is a limit because anybody may have put a directory of any name there.
  constexpr std::size_t kMost = 100;
  ASSIGN_OR_RETURN(const std::vector<TimelineId> known, archive.Timelines());
  std::vector<TimelineId> missing;
  if (known.empty()) {
    return missing;
  }
  for (TimelineId timeline = from; timeline < known.back() && missing.size() < kMost;) {
    ++timeline;
    bool there = std::ranges::binary_search(known, timeline);
    if (there) {
      ASSIGN_OR_RETURN(there, archive.Contains(TimelineHistoryName(timeline)));
    }
    if (!there) {
      missing.push_back(timeline);
    }
  }
  return missing;
}

}  // namespace veza
