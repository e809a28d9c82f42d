#include "core/schedule/planner.h"

#include <algorithm>
#include <cstdint>

namespace veza {
namespace {

constexpr std::chrono::minutes kLongestPause{30};
constexpr std::chrono::minutes kStandbyGrace{2};
// How soon to plan again while another node holds the lock: for this very slot, or for another
// reason.
constexpr std::chrono::minutes kLookAgainForDeath{5};
constexpr std::chrono::minutes kLookAgainForLock{1};

using Delay = std::chrono::microseconds;

const SlotRecord* RecordOf(const SlotRecords& records, ScheduleKind kind) {
  const auto found = records.find(ScheduleKindName(kind));
  return found == records.end() ? nullptr : &found->second;
}

// FNV-1a. Unlike std::hash it gives the same value in every process and version.
std::uint64_t Hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  }
  return hash;
}

Delay JitterOf(const PlannerInput& input, ScheduleKind kind, TimePoint slot, Delay interval) {
  const Delay most = std::min<Delay>(input.settings->jitter, interval / 2);
  const std::uint64_t hash = Hash(
      fmt::format("{} {} {}", input.node, ScheduleKindName(kind), slot.time_since_epoch().count()));
  // The low bits of FNV-1a are weak.
  return Delay((hash >> 16) % (static_cast<std::uint64_t>(most.count()) + 1));
}

bool RoleFits(const PlannerInput& input) {
  switch (input.settings->backup_from) {
    case BackupFrom::kPrimary:
      return input.is_primary;
    case BackupFrom::kStandby:
      return !input.is_primary;
    case BackupFrom::kPreferStandby:
      return true;
  }
  return false;
}

// A slot that is due and not finished.
struct DueSlot {
  SlotClaim claim;
  TimePoint ready;       // when this node may claim it
  bool running = false;  // by the record; its node may have died since
};

std::optional<DueSlot> FindDue(const PlannerInput& input, ScheduleKind kind) {
  const auto& schedule = ScheduleOf(*input.settings, kind);
  const SlotRecord* const record = RecordOf(input.records, kind);
  if (!schedule || record == nullptr) {
    return std::nullopt;
  }
  const TimePoint slot = schedule->LatestUpTo(input.now);
  if (const auto since = input.since.find(kind);
      since != input.since.end() && slot <= since->second) {
    return std::nullopt;
  }
  const Delay interval = schedule->NextAfter(slot) - slot;
  DueSlot due;
  if (record->slot == slot) {
    due.claim = {kind, slot, record->attempts + 1};
    due.ready = record->updated + RetryPause(record->attempts);
    due.running = record->state == SlotState::kRunning;
  } else {
    due.claim = {kind, slot, 1};
    due.ready = slot + JitterOf(input, kind, slot, interval);
  }
  if (input.settings->backup_from == BackupFrom::kPreferStandby && input.is_primary &&
      input.has_standbys) {
    due.ready += std::min<Delay>(kStandbyGrace, interval / 4);
  }
  return MayClaim(record, due.claim) ? std::optional(due) : std::nullopt;
}

// The kind of the backup that runs, if it is one that replaces others.
std::optional<ScheduleKind> RunningKind(LockUse lock) {
  switch (lock) {
    case LockUse::kFullBackup:
      return ScheduleKind::kFull;
    case LockUse::kDiffBackup:
      return ScheduleKind::kDiff;
    case LockUse::kFree:
    case LockUse::kOther:
      break;
  }
  return std::nullopt;
}

using DueSlots = std::map<ScheduleKind, DueSlot>;

// Returns why a backup of this kind that is due now has no point: one that replaces it runs or is
// about to. One that failed and waits for its next attempt is not a reason.
std::optional<std::string> ReasonToSkip(const PlannerInput& input, ScheduleKind kind,
                                        const DueSlots& due) {
  const auto running = RunningKind(input.lock);
  if (running && *running < kind) {
    return fmt::format("a {} backup is running on \"{}\"", ScheduleKindName(*running),
                       input.holder);
  }
  for (const auto& [other, slot] : due) {
    if (other < kind && RoleFits(input) && (slot.claim.attempt == 1 || slot.ready <= input.now)) {
      return fmt::format("a {} backup is due as well", ScheduleKindName(other));
    }
  }
  return std::nullopt;
}

class Planner {
 public:
  explicit Planner(const PlannerInput& input) : input_(input) {}

  SchedulePlan Make() {
    for (const ScheduleKind kind : kScheduleKinds) {
      if (const auto& schedule = ScheduleOf(*input_.settings, kind)) {
        LookAgain(schedule->NextAfter(input_.now));
        if (RoleFits(input_) && RecordOf(input_.records, kind) == nullptr) {
          plan_.baselines.push_back(kind);
        }
      }
    }
    if (RoleFits(input_)) {
      DueSlots due;
      for (const ScheduleKind kind : kScheduleKinds) {
        if (const auto slot = FindDue(input_, kind)) {
          due.emplace(kind, *slot);
        }
      }
      for (const auto& [kind, slot] : due) {
        const auto reason = ReasonToSkip(input_, kind, due);
        if (reason && !IsBeingTaken(kind, slot)) {
          plan_.skipped.push_back({kind, slot.claim.slot, *reason});
        } else {
          Consider(slot);
        }
      }
    }
    return std::move(plan_);
  }

 private:
  // When a backup of this kind may hold the lock and the record says "running", it is being taken
  // right now.
  bool IsBeingTaken(ScheduleKind kind, const DueSlot& slot) const {
    const LockUse own = kind == ScheduleKind::kDiff ? LockUse::kDiffBackup : LockUse::kOther;
    return slot.running && input_.lock == own;
  }

  void Consider(const DueSlot& due) {
    if (plan_.start) {
      return;
    }
    if (input_.lock != LockUse::kFree) {
      LookAgain(input_.now + (due.running ? kLookAgainForDeath : kLookAgainForLock));
    } else if (due.ready > input_.now) {
      LookAgain(due.ready);
    } else {
      plan_.start = due.claim;
    }
  }

  void LookAgain(TimePoint time) {
    plan_.look_again = plan_.look_again ? std::min(*plan_.look_again, time) : time;
  }

  const PlannerInput& input_;
  SchedulePlan plan_;
};

}  // namespace

const char* ScheduleKindName(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kFull:
      return "full";
    case ScheduleKind::kDiff:
      return "diff";
    case ScheduleKind::kIncr:
      return "incr";
  }
  return "unknown";
}

const std::optional<Schedule>& ScheduleOf(const ScheduleSettings& settings, ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kFull:
      return settings.full;
    case ScheduleKind::kDiff:
      return settings.diff;
    case ScheduleKind::kIncr:
      break;
  }
  return settings.incr;
}

std::chrono::minutes RetryPause(int attempts) {
  constexpr int kEnoughDoublings = 5;
  return std::min(kLongestPause,
                  std::chrono::minutes(1 << std::clamp(attempts - 1, 0, kEnoughDoublings)));
}

bool MayClaim(const SlotRecord* record, const SlotClaim& claim) {
  if (record == nullptr || record->slot < claim.slot) {
    return true;
  }
  const bool unfinished =
      record->state == SlotState::kFailed || record->state == SlotState::kRunning;
  return record->slot == claim.slot && unfinished && record->attempts < claim.attempt;
}

std::optional<SlotRecord> SkippedBy(ScheduleKind running, ScheduleKind kind,
                                    const ScheduleSettings& settings, const SlotRecords& records,
                                    TimePoint now) {
  const SlotRecord* const record = RecordOf(records, kind);
  const std::optional<Schedule>& schedule = ScheduleOf(settings, kind);
  if (!schedule || record == nullptr) {
    return std::nullopt;
  }
  const TimePoint slot = schedule->LatestUpTo(now);
  if (!MayClaim(record, {kind, slot, record->attempts + 1})) {
    return std::nullopt;
  }
  SlotRecord skipped;
  skipped.slot = slot;
  skipped.state = SlotState::kSkipped;
  skipped.error = fmt::format("a {} backup was running", ScheduleKindName(running));
  return skipped;
}

SchedulePlan PlanSchedule(const PlannerInput& input) {
  return Planner(input).Make();
}

std::optional<TimePoint> NextRun(const PlannerInput& input, ScheduleKind kind) {
  const auto& schedule = ScheduleOf(*input.settings, kind);
  if (!schedule) {
    return std::nullopt;
  }
  const auto due = FindDue(input, kind);
  const auto skipped = PlanSchedule(input).skipped;
  const bool is_skipped =
      std::ranges::any_of(skipped, [kind](const SkippedSlot& slot) { return slot.kind == kind; });
  return due && !due->running && !is_skipped ? std::max(due->ready, input.now)
                                             : schedule->NextAfter(input.now);
}

}  // namespace veza
