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

// The new primary sends all of them before its own first segment.
constexpr std::uint64_t kMostBytes = 2ULL << 30;
// What the new primary may have written when its first checkpoint looks at wal_keep_size.
constexpr std::uint64_t kWrittenMeanwhile = 4;

// Of the process. `marked` has segments of `timeline`, in their order.
struct Streamed {
  TimeLineID timeline = 0;  // 0: no recovery has been seen
  SegmentNumber next = 0;   // what comes before has been marked, or is left alone
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

// The receiver says how far it has flushed before it gives the segment its .done, and that is not
// to be missed. One that came here another way may never get a status: then a later one has.
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

// What removes a segment removes .done first, so that no .ready is left over.
Status Mark(SegmentNumber number) {
  const StatusFiles files = StatusFilesOf(number);
  if (rename(files.done, files.ready) == 0) {
    streamed.marked.push_back(number);
  } else if (errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", files.done));
  }
  return Ok();
}

// A .done may be left over, which harms nobody.
Status Unmark(SegmentNumber number) {
  const StatusFiles files = StatusFilesOf(number);
  if (rename(files.ready, files.done) != 0 && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", files.ready));
  }
  return Ok();
}

// Follows recovery to another timeline: what is marked stays so.
void Follow(TimeLineID timeline) {
  if (streamed.timeline != timeline) {
    streamed.timeline = timeline;
    streamed.next = 0;
    streamed.marked.clear();
  }
}

// The first segment that is not whole and flushed yet, on the timeline that is replayed.
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

// Marks what is whole and may be removed by the first checkpoint after a promotion.
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

// The archiver may have begun, and knows the next files from a list.
void OfferMarked() {
  for (const SegmentNumber number : streamed.marked) {
    // Until now it has waited for nobody. A failure only makes it seem older.
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
