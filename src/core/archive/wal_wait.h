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
  // How long none may arrive, of the segments that are waited for or of those before them. The time
  // during which the store does not answer does not count: nothing can arrive then.
  std::chrono::seconds patience{600};
  // But not for longer than this, on top of the patience and since the last progress. A store that
  // answers slowly looks like one that does not answer.
  std::chrono::seconds longest_outage{21'600};
  // Asked after each look about the first segment that is missing: an error when it will never
  // come, which ends the waiting. May be empty.
  std::function<Status(const std::string& missing)> obstacle;
};

// kDeadlineExceeded, naming the segment, when there is no progress for too long.
Status WaitForWal(const WalArchive& archive, const Environment& environment, const WalWait& wait);

// kNoSpace where the store has no room for one more segment of WAL, as large as it can be: a copy
// that waits for its WAL may have taken the room that this needs. Any other error tells nothing.
Status RequireRoomForWal(const Repository& repository, std::uint64_t segment_size);

// Whether nobody writes the segment of `timeline` any more, because the server has gone on along
// `history`: it holds the point where the timeline was left, or comes behind it. The new timeline
// has the same records up to there in its own segment; but a restore looks for the old one's.
bool IsAbandoned(const TimelineHistory& history, TimelineId timeline, SegmentNumber segment,
                 std::uint64_t segment_size);

}  // namespace veza
