// Claiming the slots of the schedules, and recording what became of them: what a node does while it
// holds the cluster lock.
#pragma once

#include <string>
#include <vector>

#include "core/repository/cluster_lock.h"
#include "core/schedule/planner.h"

namespace veza {

// The purposes of a backup's lock.
inline constexpr const char* kFullBackupPurpose = "full backup";
inline constexpr const char* kDiffBackupPurpose = "diff backup";

// What the lock is used for, as far as the planner is concerned.
LockUse LockUseOf(const LockState& state);

// kAlreadyExists, naming the node, when somebody else has taken care of the slot.
Status ClaimSlot(ClusterLock& lock, const SlotClaim& claim);

// The outcome of a claimed slot. `label` may be empty, and so may the error of a success.
SlotRecord OutcomeOf(const SlotClaim& claim, SlotState state, const std::string& label,
                     const std::string& error);

// For a full backup, scheduled or not, when it begins and when it ends: the diff that is due is
// skipped.
Status SkipDueDiff(ClusterLock& lock, const ScheduleSettings& settings, TimePoint now);

// Takes the lock and records, for kinds without any record, that what was due up to now is nobody's
// business. A kind that somebody else has recorded meanwhile is left alone. Waits some seconds for
// a lock that is taken, since its holder may be recording the same; kFailedPrecondition after that.
Status RecordBaselines(const Repository& repository, const std::vector<ScheduleKind>& kinds);

}  // namespace veza
