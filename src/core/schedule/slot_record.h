// The records of the schedules in the repository. For each kind of backup the lock object holds the
// newest slot (a scheduled time) that a node claimed. From it every node knows what the others did,
// and a promoted standby knows what its primary did.
#pragma once

#include <map>
#include <string>

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
  TimePoint updated{};  // by the writer's clock
};

// The keys are "full", "diff" and "incr".
using SlotRecords = std::map<std::string, SlotRecord>;

}  // namespace veza
