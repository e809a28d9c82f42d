// The metrics of this server, gathered: from shared memory, from pg_wal, from the repository.
#pragma once

#include <optional>
#include <vector>

#include "core/config/config.h"
#include "core/monitor/metrics.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"
#include "pg/schedule/shared_slots.h"
#include "pg/shared/shared_archive.h"

namespace veza::pg {

// What only the main thread may ask. Plain memory.
struct NodeSnapshot {
  bool in_recovery;
  bool archives;
  bool is_without_archiver;
  bool backup_runs;
  TimestampTz last_failure;  // 0: none
  SharedArchive archive;
  SharedSlots slots;
};
// Main thread.
NodeSnapshot TakeNodeSnapshot();

// In any thread. The facts of the repository may be older than the snapshot.
Result<std::vector<Metric>> CollectMetrics(const Config& config, const ServerFacts& server,
                                           const NodeSnapshot& snapshot,
                                           const RepositoryFacts* repository);

// Microseconds since 1970.
std::int64_t UnixMicroseconds(TimestampTz time);

}  // namespace veza::pg
