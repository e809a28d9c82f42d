// Executes the decisions of retention.h. It may be interrupted at any object and run again.
// FORMAT.md section 7 gives the order.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/error.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"
#include "core/retention/retention.h"

namespace veza {

// Says how much is kept, in view of the backups. It is called where they have been read: whoever
// holds the lock sees what nobody changes any more.
using RetentionChooser = std::function<Result<RetentionSettings>(const BackupCatalog& catalog)>;

// What Expire() would do now. For a caller that does not hold the lock. Changes nothing.
Result<std::vector<RetentionDecision>> PlanExpire(const Repository& repository,
                                                  std::uint64_t system_identifier,
                                                  const RetentionChooser& choose);
Result<std::vector<RetentionDecision>> PlanExpire(const Repository& repository,
                                                  std::uint64_t system_identifier,
                                                  const RetentionSettings& settings);

// Plans and removes. Returns the decision on everything. If a decision could not be executed (for
// example because somebody has pinned the backup meanwhile), it is returned as what happened
// instead, and WAL is removed only next time. The lock is checked before every backup, left-over
// and batch of WAL.
Result<std::vector<RetentionDecision>> Expire(const Repository& repository,
                                              std::uint64_t system_identifier,
                                              const RetentionSettings& settings, ClusterLock& lock,
                                              int requests_in_flight = 8);

// The same for a caller that does not hold the lock: takes it and releases it. kFailedPrecondition
// while another node holds it.
//
// This also works when the store is full and accepts no writes, and so not the lock. Then the
// backups and WAL that retention would remove are removed without the lock, one after the other,
// until the lock can be taken. Nobody else can hold it, which is checked before each removal, or
// take it on a full store. Two such expiries at once do no harm, because they follow the same
// rules. What needs a write to be removed safely (left-overs, which need a tombstone) waits.
// kNoSpace when nothing can be removed.
Result<std::vector<RetentionDecision>> ExpireUnderLock(const Repository& repository,
                                                       std::uint64_t system_identifier,
                                                       const RetentionChooser& choose,
                                                       int requests_in_flight);
Result<std::vector<RetentionDecision>> ExpireUnderLock(const Repository& repository,
                                                       std::uint64_t system_identifier,
                                                       const RetentionSettings& settings,
                                                       int requests_in_flight);

// The oldest backup of the system from whose start on retention keeps all WAL at the time `now`.
// nullopt when no backup is good. A backup that only retention_window counts is passed over when
// there is no segment at all between its own WAL and that of the next one: then that was removed
// before the window was set, or was as long as it is now. What backups lack is not looked for.
Result<std::optional<BackupSummary>> OldestWithAllWal(const Repository& repository,
                                                      std::uint64_t system_identifier,
                                                      const RetentionSettings& settings,
                                                      BackupCatalog catalog, TimePoint now);

// The fragments in a store, divided by the age at which Expire() removes them. Fragments that were
// written to in the last minute are left out, because most of them belong to writes in progress.
Status ReadFragments(Store& store, TimePoint now, Fragments* young, Fragments* old);

}  // namespace veza
