// Does what retention.h decides. It may be interrupted at any object and run again (FORMAT.md
// section 7 has the order).
#pragma once

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"
#include "core/retention/retention.h"

namespace veza {

// What Expire() would do now, by somebody who does not hold the lock. Changes nothing.
Result<std::vector<RetentionDecision>> PlanExpire(const Repository& repository,
                                                  std::uint64_t system_identifier,
                                                  const RetentionSettings& settings);

// Plans and removes, and returns what was decided on everything. A decision that was overtaken (a
// backup that somebody has pinned meanwhile) is returned as what became of it; then WAL waits for
// the next time. Asks the lock before every backup, left-over and batch of WAL.
Result<std::vector<RetentionDecision>> Expire(const Repository& repository,
                                              std::uint64_t system_identifier,
                                              const RetentionSettings& settings, ClusterLock& lock,
                                              int requests_in_flight = 8);

// The same for who does not hold the lock: takes it and lets it go. kFailedPrecondition while
// somebody else is at work.
//
// Also works when the store takes no writes because it is full, and so not the lock either. Then
// backups and WAL that are to go are removed without it, one after the other, until the lock can be
// had. Nobody else holds it, which is looked at before each, or can take it on a full store; that
// two such expiries meet does no harm, because they follow the same rules. What needs a write to be
// removed safely (left-overs, for which there is a tombstone) waits. kNoSpace when there is nothing
// that could go.
Result<std::vector<RetentionDecision>> ExpireUnderLock(const Repository& repository,
                                                       std::uint64_t system_identifier,
                                                       const RetentionSettings& settings,
                                                       int requests_in_flight);

// What a store has of fragments, by the age from which on Expire() removes them. Those that were
// written to in the last minute are left out: most of them are what others are storing just now.
Status ReadFragments(Store& store, TimePoint now, Fragments* young, Fragments* old);

}  // namespace veza
