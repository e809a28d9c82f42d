// What the scheduler of this server knows of the schedules, in shared memory: for the view
// veza_backup_schedule.
#pragma once

#include "core/repository/cluster_lock.h"
#include "core/schedule/schedule_keeper.h"
//
#include "pg/shared/shared_state.h"

namespace veza::pg {

// By ScheduleKind; plain memory.
struct SharedSlots {
  SharedSlot slots[kScheduleKinds];
};

void PublishSlots(const ScheduleKeeper& keeper);
SharedSlots ReadSharedSlots();

// Gives a keeper what was read: since when the schedules are in force, and the failures that could
// not be recorded. Returns the records as this server has last seen them. In any thread.
SlotRecords ApplySharedSlots(const SharedSlots& shared, ScheduleKeeper& keeper);

// What a look from outside the scheduler knows of the schedules, and the node it is made on. In any
// thread. `repository` null: it could not be read, and the server's own knowledge stands alone.
struct KnownSchedules {
  ScheduleKeeper keeper;
  NodeState node;
};
KnownSchedules LookAtSchedules(const ScheduleSettings& settings, const SharedSlots& shared,
                               const LockState* repository, const std::string& node,
                               bool is_primary);

}  // namespace veza::pg
