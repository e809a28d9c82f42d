// Gathers the metrics of this server from shared memory, pg_wal and the repository.
#pragma once

#include <optional>
#include <vector>

#include "core/config/config.h"
#include "core/monitor/metrics.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_slots.h"

namespace veza::pg {

// What only the main thread may ask the server for. Plain memory.
struct NodeSnapshot {
  bool in_recovery;
  bool archives;
  bool is_without_archiver;
  bool backup_runs;
  TimestampTz last_failure;  // 0 when no backup has failed
  SharedArchive archive;
  SharedArchiveWatch watch;
  SharedSlots slots;
};
// Main thread only.
NodeSnapshot TakeNodeSnapshot();

// May be called in any thread. `repository` is null when the repository could not be read. Its
// facts may be older than the snapshot.
Result<std::vector<Metric>> CollectMetrics(const Config& config, const ServerFacts& server,
                                           const NodeSnapshot& snapshot,
                                           const RepositoryFacts* repository);

// Converts a time of PostgreSQL to microseconds since 1970 (UTC).
std::int64_t UnixMicroseconds(TimestampTz time);

}  // namespace veza::pg
