#include "pg/archive/streamed_wal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <deque>

#include "core/error.h"
#include "core/postgres/lsn.h"
//
#include "pg/archive/archiving.h"
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include <access/xlogrecovery.h>
#include <replication/walreceiver.h>
}

namespace veza::pg {

namespace {

// How much is marked at most: the new primary sends all of it before its own first segment.
constexpr std::uint64_t kMostBytes = 2ULL << 30;
// How many segments the new primary may have written when its first checkpoint looks at
// wal_keep_size.
constexpr std::uint64_t kWrittenMeanwhile = 4;

// Of the process. `marked` has segments of `timeline`, in their order.
struct Streamed {
  TimeLineID timeline = 0;  // 0 until recovery was seen
  SegmentNumber next = 0;   // earlier segments have been marked, or are left alone
  std::deque<SegmentNumber> marked;
};
Streamed streamed;

struct StatusFiles {
  char ready[MAXPGPATH];
  char done[MAXPGPATH];
};

StatusFiles StatusFilesOf(SegmentNumber number) {
  char name[MAXFNAMELEN];
  XLogFileName(name, streamed.timeline, number, wal_segment_size);
  StatusFiles files;
  StatusFilePath(files.ready, name, ".ready");
  StatusFilePath(files.done, name, ".done");
  return files;
}

bool HasStatus(SegmentNumber number) {
  const StatusFiles files = StatusFilesOf(number);
  return access(files.done, F_OK) == 0 || access(files.ready, F_OK) == 0;
}

bool IsInPgWal(SegmentNumber number) {
  char path[MAXPGPATH];
  XLogFilePath(path, streamed.timeline, number, wal_segment_size);
  return access(path, F_OK) == 0;
}

// Whether the segment will get its .done in a moment, so that it must not be marked yet. The WAL
// receiver says that it has flushed a segment before it writes the .done. A segment that came here
// in another way may never get a status. Then a later segment has one.
bool IsOnItsWay(SegmentNumber number, SegmentNumber end) {
  if (HasStatus(number) || !IsInPgWal(number)) {
    return false;
  }
  for (SegmentNumber later = number + 1; later < end; ++later) {
    if (HasStatus(later)) {
      return false;
    }
  }
  return true;
}

// The server removes the .done before it removes a segment, so no .ready is left over.
Status Mark(SegmentNumber number) {
  const StatusFiles files = StatusFilesOf(number);
  if (rename(files.done, files.ready) == 0) {
    streamed.marked.push_back(number);
  } else if (errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", files.done));
  }
  return Ok();
}

// May leave a .done without its segment, which does no harm.
Status Unmark(SegmentNumber number) {
  const StatusFiles files = StatusFilesOf(number);
  if (rename(files.ready, files.done) != 0 && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", files.ready));
  }
  return Ok();
}

// Follows recovery to another timeline. What is marked stays marked.
void Follow(TimeLineID timeline) {
  if (streamed.timeline != timeline) {
    streamed.timeline = timeline;
    streamed.next = 0;
    streamed.marked.clear();
  }
}

// The first segment, of the timeline that is replayed, that is not whole and flushed yet.
SegmentNumber FindEnd() {
  TimeLineID replayed_on = 0;
  TimeLineID received_on = 0;
  XLogRecPtr end = GetXLogReplayRecPtr(&replayed_on);
  const XLogRecPtr received = GetWalRcvFlushRecPtr(nullptr, &received_on);
  if (received_on == replayed_on) {
    end = std::max(end, received);
  }
  Follow(replayed_on);
  return end / static_cast<std::uint64_t>(wal_segment_size);
}

// Marks the whole segments that the first checkpoint after a promotion could remove.
Status MarkNewest() {
  const auto size = static_cast<std::uint64_t>(wal_segment_size);
  const SegmentNumber end = FindEnd();
  const std::uint64_t kept = (static_cast<std::uint64_t>(wal_keep_size_mb) << 20) / size;
  const std::uint64_t spared = kept - std::min(kept, kWrittenMeanwhile);
  const SegmentNumber stop = end - std::min(end, spared);
  const std::uint64_t most = kMostBytes / size;
  streamed.next = std::max(streamed.next, stop - std::min(stop, most));
  while (streamed.next < stop && !IsOnItsWay(streamed.next, end)) {
    RETURN_IF_ERROR(Mark(streamed.next++));
  }
  while (streamed.marked.size() > most) {
    const SegmentNumber oldest = streamed.marked.front();
    streamed.marked.pop_front();
    RETURN_IF_ERROR(Unmark(oldest));
  }
  return Ok();
}

void MarkAndWarn() {
  ErrorReport report;
  if (Failed(CatchExceptions(MarkNewest), &report)) {
    Raise(WARNING, &report);
  }
}

// Makes the archiver look for the marked files: it may have made its list of files before.
void OfferMarked() {
  for (const SegmentNumber number : streamed.marked) {
    // The file waits for the archiver from now on. A failure only makes it seem to wait for longer.
    (void)utimensat(AT_FDCWD, StatusFilesOf(number).ready, nullptr, 0);
  }
  if (!streamed.marked.empty()) {
    PgArchForceDirScan();
    PgArchWakeup();
  }
}

}  // namespace

void WatchStreamedWal() {
  if (IsWithoutArchiver()) {
    if (ArchivesWithVeza()) {
      MarkAndWarn();
    }
  } else if (streamed.timeline != 0) {
    MarkAndWarn();
    OfferMarked();
    streamed = Streamed();
  }
}

}  // namespace veza::pg
