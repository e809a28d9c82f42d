// What the repository remembers of the schedules: of each kind of backup the newest slot (a time of
// its schedule) that some node claimed, kept in the lock object. So every node knows what the
// others did, and a promoted standby what its primary did.
#pragma once

#include <map>
#include <string>

#include "core/environment.h"

namespace veza {

enum class SlotState {
  kNone,     // a baseline: what was due up to `slot` is nobody's business
  kRunning,  // claimed; its node has died when the lock is not alive
  kSucceeded,
  kFailed,  // to be tried again while no newer slot is due
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

// Keys: "full", "diff".
using SlotRecords = std::map<std::string, SlotRecord>;

}  // namespace veza
