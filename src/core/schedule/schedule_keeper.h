// Keeps what a node knows about the schedules between two decisions: the settings and when they
// took effect, the slot records as last read, and failed attempts that could not be recorded
// because the repository was unreachable. Not thread-safe.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/schedule/planner.h"

namespace veza {

// The state of this node at the time of a decision.
struct NodeState {
  std::string node;  // this node's name
  bool is_primary = true;
  bool has_standbys = false;
  LockUse lock = LockUse::kFree;
  std::string holder;
  TimePoint now{};
};

class ScheduleKeeper {
 public:
  // Sets the settings. A schedule that differs from the one before takes effect at `now`. The first
  // one counts as if it had always been in force.
  void SetSettings(ScheduleSettings settings, TimePoint now);
  // When the schedule of this kind took effect. The default means "always".
  TimePoint since(ScheduleKind kind) const;
  void SetSince(ScheduleKind kind, TimePoint time);
  bool HasSchedules() const {
    return settings_ && std::ranges::any_of(kScheduleKinds, [this](ScheduleKind kind) {
             return ScheduleOf(*settings_, kind).has_value();
           });
  }

  // Takes the records that were read from the repository.
  void Learn(SlotRecords records);
  bool knows_records() const { return records_.has_value(); }

  // What was noted by a clock that was ahead, and is right now, lies in the future. Cheap.
  void ForgetFuture(TimePoint now);

  // Remembers that an attempt failed. It is forgotten when Learn() shows that the slot was finished
  // or that a later attempt began.
  void NoteFailure(const SlotClaim& claim, const std::string& node, const std::string& error,
                   TimePoint now);

  // Returns the records from the repository. A failure of ours that could not be recorded yet takes
  // the place of its kind's record.
  SlotRecords Records() const;

  // SetSettings() and Learn() must have been called before both.
  SchedulePlan Plan(const NodeState& state) const;
  std::optional<TimePoint> Next(const NodeState& state, ScheduleKind kind) const;

  // A message for the log about the slots among `skipped` that it was not called with before.
  // Empty when there are none.
  std::string TellOnce(const std::vector<SkippedSlot>& skipped);

 private:
  PlannerInput Input(const NodeState& state) const;

  std::optional<ScheduleSettings> settings_;
  std::map<ScheduleKind, TimePoint> since_;
  std::optional<SlotRecords> records_;
  SlotRecords failures_;
  std::map<ScheduleKind, TimePoint> skipped_;
};

}  // namespace veza
