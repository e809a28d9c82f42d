// Timeline history files: which timelines lead to which, and where they parted.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"

namespace veza {

// What somebody does who meets more of them than any cluster has.
inline constexpr const char* kTooManyTimelinesHint =
    "No cluster was promoted so often. Find out who has written the history files.";

struct TimelineSwitch {
  TimelineId timeline = 0;  // the ancestor
  Lsn switch_point;         // its first byte that belongs to the next timeline
  bool operator==(const TimelineSwitch&) const = default;
};

// A timeline and its ancestors, oldest first.
struct TimelineHistory {
  TimelineId timeline = 1;
  std::vector<TimelineSwitch> ancestors;

  // Whether a server at (timeline, lsn) can go on along this history: the timeline is this one, or
  // an ancestor that was left at or after lsn.
  bool Contains(TimelineId timeline, Lsn lsn) const;
};

// The text of a history file: "<timeline> <lsn> <reason>" lines, '#' comments (PostgreSQL's
// access/transam/timeline.c, readTimeLineHistory).
Result<TimelineHistory> ParseTimelineHistory(TimelineId timeline, std::string_view text);

// For who holds many of them at once: adds what this one names to the total, which has a limit.
Status CountSwitches(const TimelineHistory& history, std::size_t* total);

// The history file of the timeline in a server's pg_wal. An error where it cannot be read, or says
// nothing: where a timeline was left is nothing to guess.
Result<TimelineHistory> ReadHistoryIn(const std::string& wal_directory, TimelineId timeline);
// Of the newest timeline of which there is a file; nothing: there is none.
Result<std::optional<TimelineHistory>> NewestHistoryIn(const std::string& wal_directory);

// Where the path leaves a timeline, and for which one. Nothing when it ends on it, or does not lead
// over it.
std::optional<TimelineSwitch> ForkOf(const TimelineHistory& path, TimelineId timeline);

// Of which timeline recovery along the path reads a segment. Where a timeline was left within a
// segment, that is the next one's.
TimelineId TimelineOnPath(const TimelineHistory& path, SegmentNumber segment,
                          std::uint64_t segment_size);

}  // namespace veza
