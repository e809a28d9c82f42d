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

const std::optional<Schedule>& ScheduleOf(const ScheduleSettings& settings, ScheduleKind kind) {
  return kind == ScheduleKind::kFull ? settings.full : settings.diff;
}

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
  if (slot <= (kind == ScheduleKind::kFull ? input.full_since : input.diff_since)) {
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

// Returns why a diff that is due now has no point: a full backup runs or is about to. A full that
// failed and waits for its next attempt is not a reason.
std::optional<std::string> ReasonToSkipDiff(const PlannerInput& input,
                                            const std::optional<DueSlot>& full) {
  if (input.lock == LockUse::kFullBackup) {
    return fmt::format("a full backup is running on \"{}\"", input.holder);
  }
  if (full && RoleFits(input) && (full->claim.attempt == 1 || full->ready <= input.now)) {
    return "a full backup is due as well";
  }
  return std::nullopt;
}

class Planner {
 public:
  explicit Planner(const PlannerInput& input) : input_(input) {}

  SchedulePlan Make() {
    for (const ScheduleKind kind : {ScheduleKind::kFull, ScheduleKind::kDiff}) {
      if (const auto& schedule = ScheduleOf(*input_.settings, kind)) {
        LookAgain(schedule->NextAfter(input_.now));
        if (RoleFits(input_) && RecordOf(input_.records, kind) == nullptr) {
          plan_.baselines.push_back(kind);
        }
      }
    }
    if (RoleFits(input_)) {
      const auto full = FindDue(input_, ScheduleKind::kFull);
      auto diff = FindDue(input_, ScheduleKind::kDiff);
      // When the lock is held and the record says "running", this diff is being taken right now.
      const bool is_running = diff && diff->running && input_.lock == LockUse::kOther;
      const auto reason = ReasonToSkipDiff(input_, full);
      if (diff && reason && !is_running) {
        plan_.skipped.push_back({ScheduleKind::kDiff, diff->claim.slot, *reason});
        diff.reset();
      }
      Consider(full);
      Consider(diff);
    }
    return std::move(plan_);
  }

 private:
  void Consider(const std::optional<DueSlot>& due) {
    if (!due || plan_.start) {
      return;
    }
    if (input_.lock != LockUse::kFree) {
      LookAgain(input_.now + (due->running ? kLookAgainForDeath : kLookAgainForLock));
    } else if (due->ready > input_.now) {
      LookAgain(due->ready);
    } else {
      plan_.start = due->claim;
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
  return kind == ScheduleKind::kFull ? "full" : "diff";
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

std::optional<SlotRecord> SkippedDiff(const ScheduleSettings& settings, const SlotRecords& records,
                                      TimePoint now) {
  const SlotRecord* const record = RecordOf(records, ScheduleKind::kDiff);
  if (!settings.diff || record == nullptr) {
    return std::nullopt;
  }
  const TimePoint slot = settings.diff->LatestUpTo(now);
  if (!MayClaim(record, {ScheduleKind::kDiff, slot, record->attempts + 1})) {
    return std::nullopt;
  }
  SlotRecord skipped;
  skipped.slot = slot;
  skipped.state = SlotState::kSkipped;
  skipped.error = "a full backup was running";
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
