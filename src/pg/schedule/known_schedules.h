// What the server knows about the schedules. The scheduler publishes it in shared memory
// (shared_slots.h), and other processes read it there.
#pragma once

#include "core/repository/cluster_lock.h"
#include "core/schedule/schedule_keeper.h"
//
#include "pg/shared/shared_slots.h"

namespace veza::pg {

// Writes what the keeper knows to shared memory. Called by the scheduler.
void PublishSlots(const ScheduleKeeper& keeper);

// Gives a keeper what was read: since when each schedule is in force, and failures that could not
// be recorded in the repository. Returns the records as this server last saw them. May be called in
// any thread.
SlotRecords ApplySharedSlots(const SharedSlots& shared, ScheduleKeeper& keeper);

// What a process other than the scheduler can know about the schedules, and the node it runs on.
//
// LookAtSchedules() may be called in any thread. `repository` is null when it could not be read;
// then only the server's own knowledge counts.
struct KnownSchedules {
  ScheduleKeeper keeper;
  NodeState node;
};
KnownSchedules LookAtSchedules(const ScheduleSettings& settings, const SharedSlots& shared,
                               const LockState* repository, const std::string& node,
                               bool is_primary);

}  // namespace veza::pg
