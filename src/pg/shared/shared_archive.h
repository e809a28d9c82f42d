// What the archiver of a server tells the others of its work: counters and the last of each event,
// since the server was started. Without shared_preload_libraries there is nobody to tell.
#pragma once

#include <cstdint>

#include "pg/boundary.h"

namespace veza::pg {

inline constexpr std::size_t kWalFileLength = 64;  // MAX_XFN_CHARS is 40

// Something that happened to a WAL file; `at` 0: never.
struct SharedWalEvent {
  char file[kWalFileLength];
  TimestampTz at;
  std::uint64_t count;
};

// What the scheduler has seen when it last looked; times are microseconds since 1970, 0: never.
struct SharedArchiveWatch {
  std::int64_t observed_us;  // 0 also while it does not archive, or is in recovery
  double written_rate;       // bytes a second, as is
  double archived_rate;
  std::int64_t exposed_since_us;  // 0: nothing of importance waits

  std::int64_t surveyed_us;
  std::uint32_t gaps;              // since the newest backup, in what is on no disk any more
  std::uint32_t lost;              // segments in them
  char first_gap[kWalFileLength];  // the first segment of the first of them
};

// Guarded by the lock of SharedState, whose part it is.
struct SharedArchive {
  SharedArchiveWatch watch;

  SharedWalEvent stored;  // or found there with the same content
  std::uint64_t stored_bytes;
  std::uint64_t sealed_bytes;

  SharedWalEvent failed;  // for whatever reason; conflicts among them
  bool failing;           // the last attempt has failed
  ErrorReport error;      // of the last failure

  SharedWalEvent conflict;
  ErrorReport conflict_error;

  SharedWalEvent dropped;  // given up for want of disk space
  bool giving_up;          // none has been stored since

  std::uint64_t retries;
  std::uint32_t in_flight;
  std::uint32_t ahead;  // stored, and not asked for yet
  int level;            // of zstd, of the file that was compressed last
};

// What the archiver's own thread reports. All of them do nothing without shared memory.
void ReportStored(const char* file, std::uint64_t plain_size, std::uint64_t sealed_size);
void ReportFailure(const char* file, const ErrorReport* error, bool is_conflict);
// Acknowledged, and not stored: recovery has no use for it.
void ReportLeftOut(const char* file, const ErrorReport* error, bool is_conflict);
void ReportDropped(const char* file);
struct ShippingNow {
  std::uint32_t in_flight;
  std::uint32_t ahead;
  int level;
  std::uint64_t new_retries;
};
void ReportShipping(const ShippingNow& now);

// What the scheduler reports.
void ReportObservation(std::int64_t at_us, double written_rate, double archived_rate,
                       std::int64_t exposed_since_us);
void ReportSurvey(std::int64_t at_us, std::uint32_t gaps, std::uint32_t lost,
                  const char* first_gap);

// A copy.
SharedArchive ReadSharedArchive();

}  // namespace veza::pg
