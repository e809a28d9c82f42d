// The lines of history of one system, and which of them are alive.
//
// Timelines make a tree: each promotion and each recovery to a point in time begins a branch. A
// line is the way from the first timeline to the end of a branch. Most branches end there for ever:
// they were abandoned. Where more than one grows (a twin was promoted, and both archive) nobody can
// tell here which of them is the one that counts, so all of them do.
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
  std::optional<TimelineHistory> history{};  // nothing: its file is missing or damaged
  std::optional<SegmentNumber> last{};       // the newest segment
  TimePoint last_stored{};                   // when the store got that, by its own clock
};

class Lineage {
 public:
  Lineage() = default;
  // A line is alive when something was stored on it, behind the point where the others have left
  // it, less than kBranchAge before the newest segment of all. So is the newest timeline as long as
  // it has only its history file.
  Lineage(std::uint64_t segment_size, std::vector<TimelineTrace> traces);

  // By their last timelines, which name the lines.
  const std::vector<TimelineId>& alive() const { return alive_; }
  // Whether the point lies on the line. What is not known for want of a history file counts as "no"
  // for the first and as "yes" for the second.
  bool Holds(TimelineId line, TimelineId timeline, Lsn lsn) const;
  bool MayHold(TimelineId line, TimelineId timeline, Lsn lsn) const;
  // Of the line itself.
  bool IsKnown(TimelineId line) const;

 private:
  bool GrowsAlone(const TimelineTrace& trace, std::uint64_t segment_size) const;

  std::map<TimelineId, TimelineTrace> traces_;
  std::vector<TimelineId> alive_;
};

// A branch that nothing was added to for so long, while another one grew, was abandoned.
inline constexpr std::chrono::hours kBranchAge{7 * 24};

// A listing of the WAL, unless there is one timeline only. A damaged history file is no error: its
// line is not known.
Result<Lineage> ReadLineage(const Repository& repository, const Identity& identity);

}  // namespace veza
