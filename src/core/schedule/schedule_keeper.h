// What a node knows of the schedules from one decision to the next: the settings and since when
// they are in force, the records as last read, and the attempts that failed before they could be
// recorded, because the repository could not be reached.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/schedule/planner.h"

namespace veza {

// What the node itself knows at the time of a decision.
struct NodeState {
  std::string node;  // who we are
  bool is_primary = true;
  bool has_standbys = false;
  LockUse lock = LockUse::kFree;
  std::string holder;
  TimePoint now{};
};

class ScheduleKeeper {
 public:
  // A schedule that differs from the one before is in force from `now` on. The first one always
  // was.
  void SetSettings(ScheduleSettings settings, TimePoint now);
  // Since when, and the same to be set; the default is: always.
  TimePoint since(ScheduleKind kind) const;
  void SetSince(ScheduleKind kind, TimePoint time);
  bool HasSchedules() const { return settings_ && (settings_->full || settings_->diff); }

  // The records as they are in the repository.
  void Learn(SlotRecords records);
  bool knows_records() const { return records_.has_value(); }

  // An attempt has failed. Counts only until Learn() shows that the slot went on without us.
  void NoteFailure(const SlotClaim& claim, const std::string& node, const std::string& error,
                   TimePoint now);

  // The records, and in place of those that are outdated by them, our own failures.
  SlotRecords Records() const;

  // Both need settings and records.
  SchedulePlan Plan(const NodeState& state) const;
  std::optional<TimePoint> Next(const NodeState& state, ScheduleKind kind) const;

  // True once for every slot: for the log.
  bool IsNews(const SkippedSlot& skipped);

 private:
  PlannerInput Input(const NodeState& state) const;

  std::optional<ScheduleSettings> settings_;
  TimePoint full_since_{};
  TimePoint diff_since_{};
  std::optional<SlotRecords> records_;
  SlotRecords failures_;
  std::map<ScheduleKind, TimePoint> skipped_;
};

}  // namespace veza
