// Functions that show and stop the backup that runs on this server. They only ask shared memory.

#include <cstdint>

#include "pg/backup/backup_slot.h"
#include "pg/boundary.h"
#include "pg/shared/shared_memory.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

Datum IntervalOf(std::uint64_t microseconds) {
  auto* const interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
  interval->time = static_cast<TimeOffset>(microseconds);
  return IntervalPGetDatum(interval);
}

// The view takes how long files have been copied from the difference between this and the clock. So
// it is the time that far before the clock as it is now, however the clock was set meanwhile.
TimestampTz CopyingSince(std::int64_t steady_us) {
  return GetCurrentTimestamp() - (SteadyMicroseconds() - steady_us);
}

Datum NumberOf(pg_atomic_uint64* number) {
  return Int64GetDatum(static_cast<int64>(pg_atomic_read_u64(number)));
}

}  // namespace
}  // namespace veza::pg

// Returns one row while a backup runs, and none otherwise.
VEZA_SQL_FUNCTION(veza_backup_get_progress) {
  using namespace veza::pg;
  constexpr int kColumns = 12;
  RequireSharedMemory();
  InitMaterializedSRF(fcinfo, 0);
  const SharedBackup running = ReadSharedBackup();
  if (!IsRunning(running.phase)) {
    return static_cast<Datum>(0);
  }
  SharedProgress* const progress = GetSharedProgress();
  Datum values[kColumns] = {
      Int32GetDatum(running.worker_pid),
      CStringGetTextDatum(BackupTypeName(running.type)),
      CStringGetTextDatum(running.label),
      CStringGetTextDatum(BackupPhaseName(running.phase)),
      TimestampTzGetDatum(running.started_at),
      TimestampTzGetDatum(CopyingSince(running.copying_since_us)),
      NumberOf(&progress->bytes_total),
      NumberOf(&progress->bytes_done),
      NumberOf(&progress->files_total),
      NumberOf(&progress->files_done),
      NumberOf(&progress->bytes_stored),
      IntervalOf(pg_atomic_read_u64(&progress->throttled_us)),
  };
  bool nulls[kColumns] = {};
  nulls[0] = running.worker_pid == 0;
  nulls[2] = running.label[0] == '\0';
  nulls[5] = running.copying_since_us == 0;
  auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  RequireColumns(result, kColumns);
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  return static_cast<Datum>(0);
}

VEZA_SQL_FUNCTION(veza_backup_cancel) {
  PG_RETURN_BOOL(veza::pg::CancelRunningBackup());
}
