#include "pg/schedule/known_schedules.h"

#include <utility>

#include "core/repository/slot_claim.h"
//
#include "pg/boundary.h"

namespace veza::pg {

namespace {

void FillSharedSlot(const ScheduleKeeper& keeper, ScheduleKind kind, SharedSlot* shared) {
  *shared = {};
  shared->since_us = keeper.since(kind).time_since_epoch().count();
  const SlotRecords records = keeper.Records();
  const auto found = records.find(ScheduleKindName(kind));
  if (found == records.end()) {
    return;
  }
  const SlotRecord& record = found->second;
  shared->known = true;
  shared->slot_us = record.slot.time_since_epoch().count();
  shared->state = static_cast<int>(record.state);
  shared->attempts = record.attempts;
  shared->updated_us = record.updated.time_since_epoch().count();
  strlcpy(shared->node, record.node.c_str(), sizeof shared->node);
  strlcpy(shared->label, record.label.c_str(), sizeof shared->label);
  strlcpy(shared->error, record.error.c_str(), sizeof shared->error);
}

SlotRecord RecordFrom(const SharedSlot& shared) {
  SlotRecord record;
  record.slot = TimePoint(std::chrono::microseconds(shared.slot_us));
  record.state = static_cast<SlotState>(shared.state);
  record.attempts = shared.attempts;
  record.node = shared.node;
  record.label = shared.label;
  record.error = shared.error;
  record.updated = TimePoint(std::chrono::microseconds(shared.updated_us));
  return record;
}

}  // namespace

void PublishSlots(const ScheduleKeeper& keeper) {
  SharedSlots slots;
  const Status status = CatchExceptions([&] {
    for (const ScheduleKind kind : kScheduleKinds) {
      FillSharedSlot(keeper, kind, &slots.slots[static_cast<int>(kind)]);
    }
    return Ok();
  });
  if (status) {
    WriteSharedSlots(slots);
  }
}

SlotRecords ApplySharedSlots(const SharedSlots& shared, ScheduleKeeper& keeper) {
  SlotRecords records;
  for (const ScheduleKind kind : kScheduleKinds) {
    const SharedSlot& slot = shared.slots[static_cast<int>(kind)];
    keeper.SetSince(kind, TimePoint(std::chrono::microseconds(slot.since_us)));
    if (!slot.known) {
      continue;
    }
    SlotRecord record = RecordFrom(slot);
    if (record.state == SlotState::kFailed) {
      keeper.NoteFailure({kind, record.slot, record.attempts}, record.node, record.error,
                         record.updated);
    }
    records[ScheduleKindName(kind)] = std::move(record);
  }
  return records;
}

KnownSchedules LookAtSchedules(const ScheduleSettings& settings, const SharedSlots& shared,
                               const LockState* repository, const std::string& node,
                               bool is_primary) {
  KnownSchedules known;
  known.keeper.SetSettings(settings, {});
  SlotRecords records = ApplySharedSlots(shared, known.keeper);
  if (repository != nullptr) {
    records = repository->slots;
    known.node.lock = LockUseOf(*repository);
  }
  known.keeper.Learn(std::move(records));
  known.node.node = node;
  known.node.is_primary = is_primary;
  known.node.now = SystemClock().Now();
  if (repository != nullptr) {
    known.node.now = PlanningTime(known.node.now, repository->now);
  }
  return known;
}

}  // namespace veza::pg
