#include "core/repository/slot_claim.h"

#include <utility>

namespace veza {

LockUse LockUseOf(const LockState& state) {
  if (!state.alive) {
    return LockUse::kFree;
  }
  return state.purpose == kFullBackupPurpose ? LockUse::kFullBackup : LockUse::kOther;
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

Status SkipDueDiff(ClusterLock& lock, const ScheduleSettings& settings, TimePoint now) {
  auto skipped = SkippedDiff(settings, lock.slots(), now);
  return skipped ? lock.SetSlot(ScheduleKindName(ScheduleKind::kDiff), std::move(*skipped)) : Ok();
}

Status RecordBaselines(const Repository& repository, const std::vector<ScheduleKind>& kinds) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ClusterLock> lock,
                   ClusterLock::Acquire(repository, {.purpose = "begin of the schedules"}));
  const SlotRecords records = lock->slots();
  for (const ScheduleKind kind : kinds) {
    if (!records.contains(ScheduleKindName(kind))) {
      SlotRecord record;
      record.slot = repository.environment().clock->Now();
      RETURN_IF_ERROR(lock->SetSlot(ScheduleKindName(kind), std::move(record)));
    }
  }
  return lock->Release();
}

}  // namespace veza
