// The scheduler's decisions as pure functions. From the schedules, the slot records and the state
// of the lock they decide which backup to start now, and when to decide again. Nothing here waits,
// reads a clock or talks to a store. A slot is one scheduled time of a schedule.
//
// The rules:
//  - Each slot is claimed once in the whole formation (a primary and its standbys). Only the latest
//    slot that is due counts. Several slots that were missed while no server was up are therefore
//    made up by one backup.
//  - When there is no record yet, slots before now are not made up. A baseline is recorded instead.
//  - Of kinds that are due at the same time, only the first of full, diff, incr is taken. A diff
//  that
//    comes due while any full backup runs is skipped, and so is an incr while a full or a diff
//    runs.
//  - A slot whose backup failed, or whose node died, is tried again after 1, 2, 4, ... 30 minutes,
//    until the next slot of its kind is due.
//  - Only a node whose role matches `backup_from` claims slots. With prefer-standby, a primary that
//    has standbys waits two minutes so that they can claim first.
//  - Every node delays each slot by an amount of its own, at most by the jitter. The delay is at
//    most half of the time to the next slot, so that frequent slots do not overtake each other.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/schedule/schedule.h"
#include "core/schedule/slot_record.h"

namespace veza {

// A kind replaces those behind it.
enum class ScheduleKind { kFull, kDiff, kIncr };
inline constexpr std::array kScheduleKinds = {ScheduleKind::kFull, ScheduleKind::kDiff,
                                              ScheduleKind::kIncr};
// Returns "full", "diff" or "incr", the key in SlotRecords.
const char* ScheduleKindName(ScheduleKind kind);
const std::optional<Schedule>& ScheduleOf(const ScheduleSettings& settings, ScheduleKind kind);

enum class LockUse { kFree, kFullBackup, kDiffBackup, kOther };

struct PlannerInput {
  const ScheduleSettings* settings = nullptr;
  std::string node;
  bool is_primary = true;
  bool has_standbys = false;  // known on a primary only
  // When the schedule was set or changed. Slots before that are not made up. The default stands for
  // a schedule that was there when the server started.
  std::map<ScheduleKind, TimePoint> since{};
  SlotRecords records;
  LockUse lock = LockUse::kFree;  // the holder is alive
  std::string holder;             // the node that holds the lock
  TimePoint now{};
};

struct SlotClaim {
  ScheduleKind kind = ScheduleKind::kFull;
  TimePoint slot{};
  int attempt = 1;
};

struct SkippedSlot {
  ScheduleKind kind = ScheduleKind::kDiff;
  TimePoint slot{};
  std::string reason;  // for the log
};

struct SchedulePlan {
  std::optional<SlotClaim> start;
  // For the log only. The node that runs the other backup records them, see SkippedBy().
  std::vector<SkippedSlot> skipped;
  // Kinds for which a baseline must be recorded, at `now`.
  std::vector<ScheduleKind> baselines;
  // When to plan again with fresh records, even if nothing else happens. Not set when there is no
  // schedule.
  std::optional<TimePoint> look_again;
};

SchedulePlan PlanSchedule(const PlannerInput& input);

// When a backup of this kind will probably be tried next. For display.
std::optional<TimePoint> NextRun(const PlannerInput& input, ScheduleKind kind);

// True when the slot may still be claimed. The caller must hold the lock. `record` is the record of
// the slot's kind; null when there is none.
bool MayClaim(const SlotRecord* record, const SlotClaim& claim);

// A backup of kind `running` calls this when it begins and again when it ends, always holding the
// lock, for each kind behind its own. Returns the record that marks the latest due slot of `kind`
// as skipped. Returns nothing when there is no such slot, or when it is already finished.
std::optional<SlotRecord> SkippedBy(ScheduleKind running, ScheduleKind kind,
                                    const ScheduleSettings& settings, const SlotRecords& records,
                                    TimePoint now);

// The pause after so many attempts: 1, 2, 4, ... and at most 30 minutes.
std::chrono::minutes RetryPause(int attempts);

}  // namespace veza
