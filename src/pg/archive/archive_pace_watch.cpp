#include "pg/archive/archive_pace_watch.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/archive/archive_pace.h"
#include "core/postgres/lsn.h"
#include "core/postgres/ready_files.h"
#include "core/repository/names.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive_watch.h"

namespace veza::pg {

namespace {

using std::chrono::seconds;

constexpr seconds kBetweenObservations{10};
// Enough to find the first segment among history files.
constexpr std::size_t kReadyFilesToKnow = 64;

// One for the process. None of it is on a stack over which an ERROR jumps.
struct PaceWatch {
  ArchivePace pace;
  SteadyTime next{};      // observation; zero: none has been made
  seconds warned_age{0};  // 0: no warning stands
  bool failing = false;   // the last observation failed, and that was logged
};
PaceWatch* watch = nullptr;

PaceWatch* GetWatch() {
  if (watch == nullptr) {
    watch = NewForProcess<PaceWatch>();
  }
  return watch;
}

// What the main thread asks the server before C++ takes over.
struct ServerPosition {
  std::uint64_t written;
  std::uint64_t important;
};

struct Waiting {
  std::size_t files;
  seconds age;
  char oldest[kWalFileLength];
};

// WAL is archived up to the first segment that waits. XLogWrite() creates the .ready of a complete
// segment before it moves the write position beyond it, so no segment is overlooked in between.
Status Observe(const ServerPosition& position, Waiting* waiting) {
  ASSIGN_OR_RETURN(const ReadyFiles ready,
                   ListReadyFiles(XLOGDIR, kReadyFilesToKnow, ReadyAges::kRead));
  const auto size = static_cast<std::uint64_t>(wal_segment_size);
  std::optional<SegmentNumber> first;
  for (const std::string& file : ready.first) {
    if (ParseWalFileName(file)->kind == WalFileKind::kSegment) {
      const SegmentNumber number = SegmentNumberOf(file, size);
      first = std::min(first.value_or(number), number);
    }
  }
  const SegmentNumber waits = first.value_or(SegmentOf(Lsn{position.written}, size));
  const TimePoint now = SystemClock().Now();
  watch->pace.Observe({.at = now,
                       .steady = SystemClock().Steady(),
                       .written = Lsn{position.written},
                       .important = Lsn{position.important},
                       .archived = Lsn{waits * size}});
  const auto exposed = watch->pace.exposed_since();
  ReportObservation(now.time_since_epoch().count(), watch->pace.written_rate(),
                    watch->pace.archived_rate(), exposed ? exposed->time_since_epoch().count() : 0);
  waiting->files = ready.count;
  waiting->age = ready.oldest.empty()
                     ? seconds(0)
                     : std::chrono::duration_cast<seconds>(now - ready.oldest_since);
  strlcpy(waiting->oldest, ready.oldest.c_str(), sizeof waiting->oldest);
  return Ok();
}

// Logs that WAL has waited for too long, again each time the age has doubled, and once when WAL is
// archived in time again.
void WarnOfAge(const Waiting& waiting, seconds limit) {
  if (limit == seconds(0) || waiting.age < limit) {
    if (watch->warned_age != seconds(0)) {
      ereport(LOG, (errmsg("WAL is archived in time again")));
    }
    watch->warned_age = seconds(0);
    return;
  }
  if (watch->warned_age != seconds(0) && waiting.age < 2 * watch->warned_age) {
    return;
  }
  watch->warned_age = waiting.age;
  ereport(WARNING,
          (errmsg("WAL file \"%s\" has been waiting to be archived for %lld s", waiting.oldest,
                  static_cast<long long>(waiting.age.count())),
           errdetail("%zu files wait. If this server is lost, so is what they hold. Until "
                     "they are archived, pg_wal grows.",
                     waiting.files),
           errhint("The view veza_backup_archive shows the last error, how fast WAL is archived, "
                   "and when the disk will be full. The limit is veza_backup.archive_max_age.")));
}

}  // namespace

void ObserveArchive(seconds max_age, bool at_once) {
  PaceWatch* const mine = GetWatch();
  if (!at_once && SystemClock().Steady() < mine->next) {
    return;
  }
  mine->next = SystemClock().Steady() + kBetweenObservations;
  ServerPosition position{};
  position.written = GetXLogWriteRecPtr();
  position.important = GetLastImportantRecPtr();
  Waiting waiting{};
  ErrorReport report;
  if (Failed(CatchExceptions([&] { return Observe(position, &waiting); }), &report)) {
    Raise(std::exchange(mine->failing, true) ? DEBUG1 : WARNING, &report);
    return;
  }
  mine->failing = false;
  WarnOfAge(waiting, max_age);
}

SteadyTime NextObservation() {
  return GetWatch()->next;
}

void ForgetObservation() {
  if (std::exchange(GetWatch()->next, SteadyTime{}) != SteadyTime{}) {
    watch->pace = ArchivePace();
    ReportObservation(0, 0, 0, 0);
  }
}

}  // namespace veza::pg
