// A short notation for a made-up archive: runs of 1 MiB segments, and history files.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/repository/test_repository.h"

namespace veza {

struct MadeUpRun {
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
};

// The text of a timeline's history file.
using MadeUpHistories = std::vector<std::pair<TimelineId, std::string>>;

// When the store received segment n.
inline TimePoint StoredAt(SegmentNumber segment) {
  return kTestTime + std::chrono::minutes(segment);
}

inline ArchiveMap ArchiveOf(const std::vector<MadeUpRun>& runs,
                            const MadeUpHistories& histories = {}) {
  std::vector<WalRange> ranges;
  for (const MadeUpRun& run : runs) {
    ranges.push_back({.timeline = run.timeline,
                      .first = SegmentName(run.timeline, run.first, kTestSegmentSize),
                      .last = SegmentName(run.timeline, run.last, kTestSegmentSize),
                      .segments = run.last - run.first + 1,
                      .last_stored = StoredAt(run.last)});
  }
  std::vector<TimelineHistory> parsed;
  for (const auto& [timeline, text] : histories) {
    parsed.push_back(ParseTimelineHistory(timeline, text).value());
  }
  return {kTestSegmentSize, ranges, std::move(parsed)};
}

}  // namespace veza
