#include "pg/schedule/node_metrics.h"

#include <algorithm>
#include <utility>

#include "core/archive/archive_pace.h"
#include "core/postgres/ready_files.h"
#include "pg/archive/wal_disk.h"
//
#include "pg/archive/archiving.h"
#include "pg/compat.h"
#include "pg/schedule/known_schedules.h"
#include "pg/shared/shared_backup.h"

namespace veza::pg {

namespace {

TimePoint TimeOf(std::int64_t microseconds) {
  return TimePoint(std::chrono::microseconds(microseconds));
}

std::chrono::seconds Age(TimePoint now, TimePoint since) {
  return std::max(std::chrono::seconds(0),
                  std::chrono::duration_cast<std::chrono::seconds>(now - since));
}

void AddNextRuns(const Config& config, const ServerFacts& server, const NodeSnapshot& snapshot,
                 const RepositoryFacts* repository, NodeFacts& facts) {
  const KnownSchedules known = LookAtSchedules(config.schedule, snapshot.slots,
                                               repository != nullptr ? &repository->lock : nullptr,
                                               server.node, !snapshot.in_recovery);
  for (const ScheduleKind kind : kScheduleKinds) {
    if (const auto next = known.keeper.Next(known.node, kind)) {
      facts.next_runs[ScheduleKindName(kind)] = *next;
    }
  }
}

}  // namespace

std::int64_t UnixMicroseconds(TimestampTz time) {
  return time + std::int64_t{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * USECS_PER_DAY;
}

NodeSnapshot TakeNodeSnapshot() {
  NodeSnapshot snapshot{};
  snapshot.in_recovery = RecoveryInProgress();
  snapshot.archives = ArchivesWithVeza();
  snapshot.is_without_archiver = IsWithoutArchiver();
  snapshot.archive = ReadSharedArchive();
  snapshot.watch = ReadSharedArchiveWatch();
  snapshot.slots = ReadSharedSlots();
  const SharedBackup backup = ReadSharedBackup();
  snapshot.backup_runs = IsRunning(backup.phase);
  snapshot.last_failure = backup.last_failure.at;
  return snapshot;
}

Result<std::vector<Metric>> CollectMetrics(const Config& config, const ServerFacts& server,
                                           const NodeSnapshot& snapshot,
                                           const RepositoryFacts* repository) {
  NodeFacts facts;
  facts.in_recovery = snapshot.in_recovery;
  facts.archives = snapshot.archives;
  facts.backup_runs = snapshot.backup_runs;
  if (snapshot.last_failure != 0) {
    facts.last_failure = TimeOf(UnixMicroseconds(snapshot.last_failure));
  }
  AddNextRuns(config, server, snapshot, repository, facts);

  const TimePoint now = SystemClock().Now();
  ReadyFiles ready;
  if (!snapshot.is_without_archiver) {
    ASSIGN_OR_RETURN(ready, ListReadyFiles(XLOGDIR, 0, ReadyAges::kRead));
  }
  facts.ready_files = ready.count;
  if (ready.count > 0) {
    facts.oldest_ready_age = Age(now, ready.oldest_since);
  }
  const SharedArchive& archive = snapshot.archive;
  const SharedArchiveWatch& watch = snapshot.watch;
  if (watch.observed_us != 0) {
    facts.exposure = watch.exposed_since_us != 0 ? Age(now, TimeOf(watch.exposed_since_us))
                                                 : std::chrono::seconds(0);
  }
  facts.stored = archive.stored.count;
  facts.failures = archive.failed.count;
  facts.conflicts = archive.conflict.count;
  facts.dropped = archive.dropped.count;
  if (watch.surveyed_us != 0) {
    facts.gaps = watch.gaps;
  }
  facts.indexed = archive.indexed;
  facts.index_failures = archive.index_failures + watch.index_unfinished;
  if (watch.index_looked_us != 0) {
    facts.index_missing = watch.index_missing;
  }
  ASSIGN_OR_RETURN(const WalDisk disk, LookAtWalDisk());
  facts.wal_free = disk.free;
  facts.wal_total = disk.total;
  if (ready.count > 0) {
    facts.wal_full_in = TimeUntilFull(facts.wal_free, watch.written_rate, watch.archived_rate);
  }
  return ListMetrics(facts, repository, config);
}

}  // namespace veza::pg
