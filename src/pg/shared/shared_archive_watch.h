// What the scheduler tells the other processes about the archive of this server: the last
// observation (archive_pace_watch.h), the last survey (archive_survey_watch.h), and the last look
// at the index of WAL (index_watch.h).
#pragma once

#include <cstdint>

#include "pg/shared/shared_memory.h"

namespace veza::pg {

// Written by the scheduler. Guarded by the lock of SharedState. Times are microseconds since 1970;
// 0: never.
struct SharedArchiveWatch {
  std::int64_t observed_us;  // also 0 while this server does not archive, or is in recovery
  double written_rate;       // bytes a second, before compression
  double archived_rate;
  std::int64_t exposed_since_us;  // 0: everything important is archived

  std::int64_t surveyed_us;
  std::uint32_t gaps;              // since the newest backup, of WAL that is no longer in pg_wal
  std::uint32_t lost;              // how many segments they consist of
  char first_gap[kWalFileLength];  // the first segment of the first gap

  std::int64_t index_looked_us;    // when the index of WAL was last looked at (index_watch.h)
  std::uint64_t index_missing;     // archived segments that had none after that
  std::uint64_t index_unreadable;  // of these: segments whose objects cannot be read
  std::uint64_t index_unfinished;  // looks that failed
};

// All of these do nothing without shared memory.
void ReportObservation(std::int64_t at_us, double written_rate, double archived_rate,
                       std::int64_t exposed_since_us);
void ReportSurvey(std::int64_t at_us, std::uint32_t gaps, std::uint32_t lost,
                  const char* first_gap);
void ReportIndexLook(std::int64_t at_us, std::uint64_t missing, std::uint64_t unreadable);
void ReportIndexFailure();

// A copy; all zeros without shared memory.
SharedArchiveWatch ReadSharedArchiveWatch();

}  // namespace veza::pg
