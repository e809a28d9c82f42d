// Does what retention.h decides. It may be interrupted at any object and run again (FORMAT.md
// section 7 has the order).
#pragma once

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"
#include "core/repository/retention.h"

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

}  // namespace veza
