// Which WAL of one system the repository holds, and how its timelines follow from each other. So it
// tells what a recovery could read, and where it would stop.
//
// A server may leave its timeline in the middle of a segment. The new timeline's segment with the
// same number begins with a copy of the old one's, up to the switch, and recovery prefers it
// (XLogFileReadAnyTLI). So the old timeline's segment, which mostly exists as a .partial only, is
// not needed.
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

// Segments of one timeline that are there or, in a gap, missing. Both ends are included.
struct ArchivePiece {
  TimelineId timeline = 0;
  bool is_gap = false;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
};

class ArchiveMap {
 public:
  // `ranges` as WalArchive::Ranges() returns them. A timeline without a history (the first, or one
  // whose file is not in the repository) counts as one without ancestors.
  ArchiveMap(std::uint64_t segment_size, const std::vector<WalRange>& ranges,
             std::vector<TimelineHistory> histories, std::vector<MinimalWal> minimal = {});

  // The first point of the timeline, from `begin` to before `end`, where WAL with wal_level =
  // minimal begins. Recovery ends there with an error.
  std::optional<Lsn> FirstMinimal(TimelineId timeline, Lsn begin, Lsn end) const;

  std::uint64_t segment_size() const { return segment_size_; }

  // The run that holds the segment, or null.
  const SegmentRun* RunAt(TimelineId timeline, SegmentNumber segment) const;
  // Whether anything is there between the two segments, both included.
  bool HasAny(TimelineId timeline, SegmentNumber first, SegmentNumber last) const;

  // The newest timeline to which recovery can go on from (timeline, lsn). It is `timeline` itself
  // when there is no newer one.
  TimelineId NewestFrom(TimelineId timeline, Lsn lsn) const;
  // The way from the oldest ancestor to the timeline. Each part begins where the one before it
  // ends.
  std::vector<PathPart> PathTo(TimelineId timeline) const;
  // Where the ways to two timelines fork: the first byte that they do not share.
  Lsn PartingOf(TimelineId one, TimelineId other) const;

  // Every run and every gap, ordered by timeline and position. Segments that are missing between
  // two runs of a timeline are a gap, up to the last point where another timeline parted from it.
  // Segments that are missing on the way from one timeline to the next are a gap as well, if the
  // archive holds an earlier segment on that way.
  std::vector<ArchivePiece> Pieces() const;

 private:
  using Gaps = std::map<TimelineId, std::vector<SegmentRun>>;
  const std::vector<SegmentRun>& RunsOf(TimelineId timeline) const;
  // The segment in which the last of the known timelines parted from this one. Behind it nothing
  // need be complete. Returns the highest number when no timeline parted from this one, or when
  // this one went on afterwards.
  SegmentNumber LastFork(TimelineId timeline) const;
  void AddGap(TimelineId timeline, SegmentNumber first, SegmentNumber end, Gaps* gaps) const;
  void AddGapsOfTimelines(Gaps* gaps) const;
  void AddGapsOfPath(TimelineId timeline, Gaps* gaps) const;

  std::uint64_t segment_size_;
  std::map<TimelineId, std::vector<SegmentRun>> runs_;
  std::map<TimelineId, TimelineHistory> histories_;
  std::vector<MinimalWal> minimal_;
};

// Adds the history files to what WalArchive::Ranges() has listed. kDataCorrupted when one is
// damaged.
Result<ArchiveMap> ReadArchiveMap(const Repository& repository, const Identity& identity,
                                  const std::vector<WalRange>& ranges);
// The same, and lists the WAL first.
Result<ArchiveMap> ReadArchiveMap(const Repository& repository, const Identity& identity);

}  // namespace veza
