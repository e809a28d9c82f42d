// What the scheduler of this server knows about the schedules, for the other processes.
// known_schedules.h has the functions that write and interpret it.
#pragma once

#include <cstdint>

#include "pg/shared/shared_memory.h"

namespace veza::pg {

// What is known of one kind of backup. Times are microseconds since 1970.
struct SharedSlot {
  bool known;
  std::int64_t slot_us;
  int state;  // a SlotState
  int attempts;
  std::int64_t updated_us;
  std::int64_t since_us;  // when the schedule came into force; 0: it always was
  char node[128];
  char label[kLabelLength];
  char error[1024];
};

// Written by the scheduler. Guarded by the lock of SharedState.
struct SharedSlots {
  SharedSlot slots[3];  // by ScheduleKind
};

// Does nothing without shared memory.
void WriteSharedSlots(const SharedSlots& slots);

// A copy; all zeros without shared memory.
SharedSlots ReadSharedSlots();

}  // namespace veza::pg
