// The records of the schedules in the repository. For each kind of backup the lock object holds the
// newest slot (a scheduled time) that a node claimed. From it every node knows what the others did,
// and a promoted standby knows what its primary did.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>

#include "core/clock_tolerance.h"
#include "core/environment.h"

namespace veza {

enum class SlotState {
  kNone,     // a baseline: slots up to `slot` are not made up
  kRunning,  // claimed; if nobody holds the lock, its node has died
  kSucceeded,
  kFailed,  // is tried again until a newer slot is due
  kSkipped,
};

struct SlotRecord {
  TimePoint slot{};  // the scheduled time
  SlotState state = SlotState::kNone;
  int attempts = 0;
  std::string node{};
  std::string label{};
  std::string error{};
  TimePoint updated{};  // PlanningTime() of the writer
};

// The keys are "full", "diff" and "incr".
using SlotRecords = std::map<std::string, SlotRecord>;

// The time that slots are planned by: a node's own, or the store's where they differ too much for
// the nodes to agree on what is due. `store` is unset if it is not known.
inline TimePoint PlanningTime(TimePoint own, TimePoint store) {
  return store != TimePoint() && std::chrono::abs(store - own) > kClockTolerance ? store : own;
}

// Removes the records of slots that are still to come. A clock was ahead when they were written,
// and every slot up to that time would count as done. Without a record, a baseline is recorded. No
// record that stays was updated later than now: the pause before another attempt would not end.
inline void RemoveFutureSlots(SlotRecords& records, TimePoint now) {
  std::erase_if(records,
                [&](const auto& entry) { return entry.second.slot > now + kClockTolerance; });
  for (auto& [kind, record] : records) {
    record.updated = std::min(record.updated, now);
  }
}

}  // namespace veza
