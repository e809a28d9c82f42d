// Which WAL of one system the repository holds, and how its timelines lead to each other: what a
// recovery could read, and where it would stop.
//
// A switch of timelines lies anywhere in a segment. The new timeline's segment of that number
// begins with a copy of the old one's up to the switch, and recovery prefers it
// (XLogFileReadAnyTLI): so the old one's, which mostly exists as .partial only, is not needed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/archive/gap_record.h"
#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/repository.h"

namespace veza {

// Segments of one timeline, both ends included.
struct SegmentRun {
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  TimePoint last_stored{};
};

// The part of a path that lies on one timeline.
struct PathPart {
  TimelineId timeline = 0;
  Lsn begin;
  Lsn end;  // the first byte that belongs to the next part; for the last part, the highest there is
};

// A row of what one timeline has, and has not.
struct ArchivePiece {
  TimelineId timeline = 0;
  bool is_gap = false;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
};

class ArchiveMap {
 public:
  // `ranges` as WalArchive::Ranges() returns them. A timeline without a history (the first, or one
  // whose file is not in the repository) stands for itself.
  ArchiveMap(std::uint64_t segment_size, const std::vector<WalRange>& ranges,
             std::vector<TimelineHistory> histories, std::vector<MinimalWal> minimal = {});

  // The first point from `begin` to before `end` of the timeline from which on recovery cannot go.
  std::optional<Lsn> FirstMinimal(TimelineId timeline, Lsn begin, Lsn end) const;

  std::uint64_t segment_size() const { return segment_size_; }

  // The run that holds the segment, or null.
  const SegmentRun* RunAt(TimelineId timeline, SegmentNumber segment) const;
  // Whether anything is there between the two segments, both included.
  bool HasAny(TimelineId timeline, SegmentNumber first, SegmentNumber last) const;

  // The newest timeline to which a server at (timeline, lsn) can go on: at least that one.
  TimelineId NewestFrom(TimelineId timeline, Lsn lsn) const;
  // From the oldest ancestor to the timeline; begins and ends never go backwards.
  std::vector<PathPart> PathTo(TimelineId timeline) const;

  // Every run and every gap, by timeline and position. What is missing between two runs of a
  // timeline is a gap, up to where the last other timeline parted from it; so is what is missing on
  // the way from one timeline to the next, when there is something before it on that way.
  std::vector<ArchivePiece> Pieces() const;

 private:
  using Gaps = std::map<TimelineId, std::vector<SegmentRun>>;
  const std::vector<SegmentRun>& RunsOf(TimelineId timeline) const;
  // The segment in which the last of the known timelines parted from this one. Behind it a server
  // may have left anything. None (the highest number): nothing parted, or the timeline went on.
  SegmentNumber LastFork(TimelineId timeline) const;
  void AddGap(TimelineId timeline, SegmentNumber first, SegmentNumber end, Gaps* gaps) const;
  void AddGapsOfTimelines(Gaps* gaps) const;
  void AddGapsOfPath(TimelineId timeline, Gaps* gaps) const;

  std::uint64_t segment_size_;
  std::map<TimelineId, std::vector<SegmentRun>> runs_;
  std::map<TimelineId, TimelineHistory> histories_;
  std::vector<MinimalWal> minimal_;
};

// Reads the history files to what WalArchive::Ranges() has listed. kDataCorrupted for one that is
// damaged.
Result<ArchiveMap> ReadArchiveMap(const Repository& repository, const Identity& identity,
                                  const std::vector<WalRange>& ranges);

}  // namespace veza
