// The lines of history of one system, and which of them are alive.
//
// Timelines form a tree: each promotion and each recovery to a point in time begins a branch. A
// line is the way from the first timeline to the end of a branch. Most branches were abandoned and
// do not grow any more. Several may grow (a clone was promoted, and both servers archive). Nobody
// can tell here which of them counts, so all of them do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/repository.h"

namespace veza {

// What the archive has of a timeline.
struct TimelineTrace {
  TimelineId timeline = 0;
  std::optional<TimelineHistory> history{};  // empty when its file is missing or damaged
  std::optional<SegmentNumber> last{};       // the newest segment
  TimePoint last_stored{};                   // when the store received it, by its own clock
};

class Lineage {
 public:
  Lineage() = default;
  // A line is alive when its newest segment lies at or behind every point where another line parted
  // from it, and was stored less than kBranchAge before the newest segment of all lines. The newest
  // timeline is also alive while it has nothing but its history file.
  Lineage(std::uint64_t segment_size, std::vector<TimelineTrace> traces);

  // The lines that are alive. A line is named by its last timeline.
  const std::vector<TimelineId>& alive() const { return alive_; }
  // The timelines whose newest segment was stored at this time or later, alive or not.
  std::vector<TimelineId> GrownSince(TimePoint time) const;
  // Whether the point lies on the line. Without the history file of the line this is not known:
  // then Holds() says no, and MayHold() says yes unless the timeline is newer than the line.
  bool Holds(TimelineId line, TimelineId timeline, Lsn lsn) const;
  bool MayHold(TimelineId line, TimelineId timeline, Lsn lsn) const;
  // Whether the history of the line is known.
  bool IsKnown(TimelineId line) const;

 private:
  bool GrowsAlone(const TimelineTrace& trace, std::uint64_t segment_size) const;

  std::map<TimelineId, TimelineTrace> traces_;
  std::vector<TimelineId> alive_;
};

// A branch to which nothing was added for so long, while another one grew, counts as abandoned.
inline constexpr std::chrono::hours kBranchAge{7 * 24};

// Lists the WAL, unless there is only one timeline. A damaged history file is no error: the history
// of its line is not known then.
Result<Lineage> ReadLineage(const Repository& repository, const Identity& identity);

}  // namespace veza
