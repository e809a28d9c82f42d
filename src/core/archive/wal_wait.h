// Waiting until the repository holds the WAL that makes a copy consistent.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"

namespace veza {

struct WalWait {
  std::string label;  // of the backup, for messages
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  std::uint64_t segment_size = 0;
  // How long to go on while no segment arrives, neither one that is waited for nor one before them.
  // Time during which the store does not answer does not count, because nothing can arrive then.
  std::chrono::seconds patience{600};
  // How much of such time is left out at most, since the last progress. A store that answers slowly
  // looks like one that does not answer.
  std::chrono::seconds longest_outage{21'600};
  // Called after each look with the first segment that is missing. An error means that the segment
  // will never come, and ends the waiting. May be empty.
  std::function<Status(const std::string& missing)> obstacle;
};

// kDeadlineExceeded, which names the segment, when there was no progress for too long.
Status WaitForWal(const WalArchive& archive, const Environment& environment, const WalWait& wait);

// kNoSpace when the store has no room for one more segment that cannot be compressed: a copy that
// waits for its WAL may have taken the room that this WAL needs. Any other error says nothing about
// the room.
Status RequireRoomForWal(const Repository& repository, std::uint64_t segment_size);

// Whether the segment of `timeline` will never be finished, because the server has gone on along
// `history`. That is so for the segment in which the server left the timeline, and for those behind
// it. The new timeline's segment holds the same records up to that point, but a restore looks for
// that of the old one.
bool IsAbandoned(const TimelineHistory& history, TimelineId timeline, SegmentNumber segment,
                 std::uint64_t segment_size);

}  // namespace veza
