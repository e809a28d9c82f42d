// Implements the view veza_backup_archive: the state of this server's archiver. It does not ask the
// repository, so it answers while that is unreachable.

#include <cmath>

#include "core/archive/archive_pace.h"
#include "core/postgres/ready_files.h"
#include "pg/archive/wal_disk.h"
#include "pg/schedule/node_metrics.h"
#include "pg/sql/rows_call.h"
//
#include "pg/archive/archiving.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_memory.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

using Cell = std::optional<std::string>;

class ArchiveCall final : public RowsCall {
 public:
  ~ArchiveCall() override { StopAndJoin(); }

  // Main thread only.
  void ReadServer() {
    shared_ = ReadSharedArchive();
    watch_ = ReadSharedArchiveWatch();
    is_without_archiver_ = IsWithoutArchiver();
    segment_size_ = static_cast<std::uint64_t>(wal_segment_size);
  }

 private:
  Status Work() override {
    ReadyFiles ready;
    if (!is_without_archiver_) {
      ASSIGN_OR_RETURN(ready, ListReadyFiles(XLOGDIR, 0, ReadyAges::kRead));
    }
    ASSIGN_OR_RETURN(const WalDisk disk, LookAtWalDisk());
    // Counts every file as a segment: history files and backup labels are few and small.
    const std::uint64_t backlog = ready.count * segment_size_;
    const bool waits = ready.count > 0;
    const bool observed = watch_.observed_us != 0;
    rows_.push_back({
        std::to_string(ready.count),
        std::to_string(backlog),
        waits ? Cell(ready.oldest) : std::nullopt,
        waits ? Cell(FormatUtc(ready.oldest_since)) : std::nullopt,
        std::to_string(shared_.in_flight),
        std::to_string(shared_.ahead),
        shared_.stored.count > 0 ? Cell(std::to_string(shared_.level)) : std::nullopt,
        observed ? Cell(Whole(watch_.written_rate)) : std::nullopt,
        observed ? Cell(Whole(watch_.archived_rate)) : std::nullopt,
        observed ? Interval(TimeToDrain(backlog, watch_.written_rate, watch_.archived_rate))
                 : std::nullopt,
        std::to_string(disk.free),
        std::to_string(disk.total),
        observed && waits
            ? Interval(TimeUntilFull(disk.free, watch_.written_rate, watch_.archived_rate))
            : std::nullopt,
        TimeOf(watch_.observed_us),
        TimeOf(watch_.exposed_since_us),
        FileOf(shared_.stored),
        TimeOf(shared_.stored),
        std::to_string(shared_.stored.count),
        std::to_string(shared_.stored_bytes),
        std::to_string(shared_.sealed_bytes),
        FileOf(shared_.failed),
        TimeOf(shared_.failed),
        shared_.failed.at != 0 ? Cell(shared_.error.message) : std::nullopt,
        shared_.failed.at != 0 && shared_.error.hint[0] != '\0' ? Cell(shared_.error.hint)
                                                                : std::nullopt,
        std::to_string(shared_.failed.count),
        shared_.failing ? "true" : "false",
        std::to_string(shared_.retries),
        FileOf(shared_.conflict),
        TimeOf(shared_.conflict),
        shared_.conflict.at != 0 ? Cell(shared_.conflict_error.message) : std::nullopt,
        std::to_string(shared_.conflict.count),
        FileOf(shared_.dropped),
        TimeOf(shared_.dropped),
        std::to_string(shared_.dropped.count),
        watch_.surveyed_us != 0 ? Cell(std::to_string(watch_.gaps)) : std::nullopt,
        watch_.first_gap[0] != '\0' ? Cell(watch_.first_gap) : std::nullopt,
        TimeOf(watch_.surveyed_us),
    });
    return Ok();
  }

  static std::string Whole(double rate) { return fmt::format("{:.0f}", std::round(rate)); }

  static Cell Interval(std::optional<std::chrono::seconds> time) {
    return time ? Cell(fmt::format("{} seconds", time->count())) : std::nullopt;
  }

  static Cell TimeOf(std::int64_t microseconds) {
    return microseconds != 0 ? Cell(FormatUtc(TimePoint(std::chrono::microseconds(microseconds))))
                             : std::nullopt;
  }
  static Cell TimeOf(const SharedWalEvent& event) {
    return event.at != 0 ? TimeOf(UnixMicroseconds(event.at)) : std::nullopt;
  }
  static Cell FileOf(const SharedWalEvent& event) {
    return event.at != 0 ? Cell(event.file) : std::nullopt;
  }

  SharedArchive shared_{};
  SharedArchiveWatch watch_{};
  bool is_without_archiver_ = false;
  std::uint64_t segment_size_ = 0;
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_get_archive) {
  using namespace veza::pg;
  RequireSharedMemory();
  auto* const call = NewInContext<ArchiveCall>();
  call->ReadServer();
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}
