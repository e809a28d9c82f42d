// Timeline history files: the ancestors of a timeline, and where each was left.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"

namespace veza {

// The hint for an error about more timelines than any cluster has.
inline constexpr const char* kTooManyTimelinesHint =
    "No cluster is promoted that often. Find out who wrote the history files.";

struct TimelineSwitch {
  TimelineId timeline = 0;  // where it was left: the first byte that belongs to the next timeline
  Lsn switch_point;         // its first byte that belongs to the next timeline
  bool operator==(const TimelineSwitch&) const = default;
};

// A timeline and its ancestors, oldest first.
struct TimelineHistory {
  TimelineId timeline = 1;
  std::vector<TimelineSwitch> ancestors;

  // Whether a server at (timeline, lsn) can continue along this history: `timeline` is this one, or
  // an ancestor that was left at or after `lsn`.
  bool Contains(TimelineId timeline, Lsn lsn) const;
};

// Parses a history file: lines of the form "<timeline> <lsn> <reason>", and '#' comments
// (access/transam/timeline.c, readTimeLineHistory). kDataCorrupted for anything else, and for more
// than limits::kTimelines ancestors.
Result<TimelineHistory> ParseTimelineHistory(TimelineId timeline, std::string_view text);

// For code that holds many histories at once: adds the number of ancestors to `total`.
// kDataCorrupted when the total exceeds limits::kTimelineSwitches.
Status CountSwitches(const TimelineHistory& history, std::size_t* total);

// Reads the timeline's history file in `wal_directory`, a server's pg_wal. An error when it cannot
// be read or names no ancestor: a guess where a timeline was left could lose data.
Result<TimelineHistory> ReadHistoryIn(const std::string& wal_directory, TimelineId timeline);
// The history of the newest timeline that has a history file there. nullopt when none has one.
Result<std::optional<TimelineHistory>> NewestHistoryIn(const std::string& wal_directory);

// Where the path leaves `timeline`, and for which timeline. nullopt when the path ends on that
// timeline or does not contain it.
std::optional<TimelineSwitch> ForkOf(const TimelineHistory& path, TimelineId timeline);

// The timeline from which recovery along the path reads a segment. If the path changes timelines
// within the segment, recovery reads the later timeline's segment.
TimelineId TimelineOnPath(const TimelineHistory& path, SegmentNumber segment,
                          std::uint64_t segment_size);

}  // namespace veza
