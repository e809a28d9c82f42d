#include "core/repository/slot_claim.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace veza {
namespace {

// How long the nodes of a formation wait for the one that records the baselines. All of them learn
// of a new schedule in the same second.
constexpr int kBaselineTries = 10;
constexpr std::chrono::milliseconds kBaselinePause{500};

bool HasAll(const SlotRecords& records, const std::vector<ScheduleKind>& kinds) {
  return std::ranges::all_of(
      kinds, [&](ScheduleKind kind) { return records.contains(ScheduleKindName(kind)); });
}

Status AddBaselines(const Repository& repository, ClusterLock& lock,
                    const std::vector<ScheduleKind>& kinds) {
  const SlotRecords records = lock.slots();
  ASSIGN_OR_RETURN(const TimePoint now, ReadPlanningTime(repository));
  for (const ScheduleKind kind : kinds) {
    if (!records.contains(ScheduleKindName(kind))) {
      SlotRecord record;
      record.slot = now;
      RETURN_IF_ERROR(lock.SetSlot(ScheduleKindName(kind), std::move(record)));
    }
  }
  return lock.Release();
}

}  // namespace

BackupType TypeOf(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kFull:
      return BackupType::kFull;
    case ScheduleKind::kDiff:
      return BackupType::kDiff;
    case ScheduleKind::kIncr:
      break;
  }
  return BackupType::kIncr;
}

ScheduleKind KindOf(BackupType type) {
  switch (type) {
    case BackupType::kFull:
      return ScheduleKind::kFull;
    case BackupType::kDiff:
      return ScheduleKind::kDiff;
    case BackupType::kIncr:
      break;
  }
  return ScheduleKind::kIncr;
}

LockUse LockUseOf(const LockState& state) {
  if (!state.alive) {
    return LockUse::kFree;
  }
  for (const BackupType type : {BackupType::kFull, BackupType::kDiff}) {
    if (state.purpose == PurposeOf(type)) {
      return LockUseOf(type);
    }
  }
  return LockUse::kOther;
}

LockUse LockUseOf(BackupType running) {
  switch (running) {
    case BackupType::kFull:
      return LockUse::kFullBackup;
    case BackupType::kDiff:
      return LockUse::kDiffBackup;
    case BackupType::kIncr:
      break;
  }
  return LockUse::kOther;
}

std::string PurposeOf(BackupType type) {
  return fmt::format("{} backup", BackupTypeName(type));
}

Status ClaimSlot(ClusterLock& lock, const SlotClaim& claim) {
  const char* const kind = ScheduleKindName(claim.kind);
  const SlotRecords records = lock.slots();
  const auto found = records.find(kind);
  if (found != records.end() && !MayClaim(&found->second, claim)) {
    return MakeError(ErrorCode::kAlreadyExists,
                     "the {} backup scheduled for {} was taken care of by node \"{}\"", kind,
                     FormatUtc(claim.slot), found->second.node);
  }
  return lock.SetSlot(kind, OutcomeOf(claim, SlotState::kRunning, "", ""));
}

SlotRecord OutcomeOf(const SlotClaim& claim, SlotState state, const std::string& label,
                     const std::string& error) {
  SlotRecord record;
  record.slot = claim.slot;
  record.state = state;
  record.attempts = claim.attempt;
  record.label = label;
  record.error = error;
  return record;
}

Status SkipReplaced(ClusterLock& lock, BackupType type, const ScheduleSettings& settings,
                    TimePoint now) {
  for (const ScheduleKind kind : kScheduleKinds) {
    if (kind <= KindOf(type)) {
      continue;
    }
    std::optional<SlotRecord> skipped = SkippedBy(KindOf(type), kind, settings, lock.slots(), now);
    if (skipped) {
      RETURN_IF_ERROR(lock.SetSlot(ScheduleKindName(kind), std::move(*skipped)));
    }
  }
  return Ok();
}

Status RecordBaselines(const Repository& repository, const std::vector<ScheduleKind>& kinds) {
  const Environment& environment = repository.environment();
  for (int tries_left = kBaselineTries;; --tries_left) {
    ASSIGN_OR_RETURN(const LockState state, ReadLockState(repository));
    if (HasAll(state.slots, kinds)) {
      return Ok();
    }
    const auto lock = ClusterLock::Acquire(repository, {.purpose = "start of the schedules"});
    if (lock) {
      return AddBaselines(repository, **lock, kinds);
    }
    if (lock.error().code != ErrorCode::kFailedPrecondition || tries_left == 0) {
      return tl::unexpected(lock.error());
    }
    if (!environment.clock->Sleep(kBaselinePause, environment.cancellation.get())) {
      return Cancelled();
    }
  }
}

}  // namespace veza
