// Claims the slots of backup schedules and records their outcome. A node does this while it holds
// the cluster lock.
#pragma once

#include <string>
#include <vector>

#include "core/repository/cluster_lock.h"
#include "core/repository/names.h"
#include "core/schedule/planner.h"

namespace veza {

// The lock's purpose during a backup.
std::string PurposeOf(BackupType type);

// The type of backup that a schedule is for, and the other way round.
BackupType TypeOf(ScheduleKind kind);
ScheduleKind KindOf(BackupType type);

// What the lock is used for, as the planner sees it.
LockUse LockUseOf(const LockState& state);
LockUse LockUseOf(BackupType running);

// kAlreadyExists, naming the node, when another node has already taken care of the slot.
Status ClaimSlot(ClusterLock& lock, const SlotClaim& claim);

// The record of a claimed slot's outcome. `label` may be empty, and `error` is empty for a success.
SlotRecord OutcomeOf(const SlotClaim& claim, SlotState state, const std::string& label,
                     const std::string& error);

// Called when a backup of type `type`, scheduled or not, begins and ends: what is due of the kinds
// that it replaces is skipped.
Status SkipReplaced(ClusterLock& lock, BackupType type, const ScheduleSettings& settings,
                    TimePoint now);

// Takes the lock and records, for each kind that has no record yet, that slots up to now are not
// made up for. A kind that another node has recorded meanwhile is left alone. If the lock is taken,
// waits a few seconds, since its holder may be doing the same; after that, kFailedPrecondition.
Status RecordBaselines(const Repository& repository, const std::vector<ScheduleKind>& kinds);

}  // namespace veza
