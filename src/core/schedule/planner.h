// The scheduler's decisions: from schedules, records and the state of the lock to what is to be
// done now, and when to look again. Nothing here waits, reads a clock or talks to a store.
//
// The rules:
//  - A slot is claimed once in the whole formation. Only the latest slot that is due counts, so
//    that what was missed while no server was up is made up once.
//  - Without any record, what was due before now is not run: a baseline is recorded instead.
//  - A full that is due takes the place of a diff that is due; a diff that comes due while a full
//    runs, scheduled or not, is skipped.
//  - A slot that failed, or whose node died, is tried again after 1, 2, 4, ... 30 minutes, until
//    the next slot of its kind is due.
//  - Only a node whose role fits `backup_from` claims. With prefer-standby, a primary that has
//    standbys leaves them two minutes.
//  - Within the jitter, a slot is delayed by an amount of its own on every node; never by more than
//    half of the time to the next slot, lest frequent slots overtake each other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/schedule/schedule.h"
#include "core/schedule/slot_record.h"

namespace veza {

enum class ScheduleKind { kFull, kDiff };
// "full" or "diff": the key in SlotRecords.
const char* ScheduleKindName(ScheduleKind kind);

enum class LockUse { kFree, kFullBackup, kOther };

struct PlannerInput {
  const ScheduleSettings* settings = nullptr;
  std::string node;
  bool is_primary = true;
  bool has_standbys = false;  // a primary's knowledge
  // When the schedule was set or changed, so that what it would have done before is not made up.
  // Default: it was there when the server started.
  TimePoint full_since{};
  TimePoint diff_since{};
  SlotRecords records;
  LockUse lock = LockUse::kFree;  // by somebody alive
  std::string holder;             // of a lock that is not free
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
  std::string reason;  // why, for the log
};

struct SchedulePlan {
  std::optional<SlotClaim> start;
  // For the log. Whoever runs the full that is the reason records them, see ClaimedWith().
  std::vector<SkippedSlot> skipped;
  // Kinds to record a baseline for, at `now`.
  std::vector<ScheduleKind> baselines;
  // When to plan again, with fresh records, although nothing else happens. Nothing: never.
  std::optional<TimePoint> look_again;
};

SchedulePlan PlanSchedule(const PlannerInput& input);

// When a backup of this kind will be tried next, as far as one can know; for people.
std::optional<TimePoint> NextRun(const PlannerInput& input, ScheduleKind kind);

// Whether the slot may still be claimed, by somebody who holds the lock. `record`: of that kind,
// null when there is none.
bool MayClaim(const SlotRecord* record, const SlotClaim& claim);

// What a full backup does to the diff schedule when it begins, and again when it ends, always with
// the lock: the slot that came due and that is not done with is skipped. Nothing: there is none.
std::optional<SlotRecord> SkippedDiff(const ScheduleSettings& settings, const SlotRecords& records,
                                      TimePoint now);

// How long a slot rests after so many attempts: 1, 2, 4, ... at most 30 minutes.
std::chrono::minutes RetryPause(int attempts);

}  // namespace veza
