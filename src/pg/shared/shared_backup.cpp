#include "pg/shared/shared_backup.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

namespace {

std::array<pg_atomic_uint64*, 6> NumbersOf(SharedProgress* progress) {
  return {&progress->bytes_total, &progress->bytes_done,   &progress->files_total,
          &progress->files_done,  &progress->bytes_stored, &progress->throttled_us};
}

}  // namespace

const char* BackupPhaseName(BackupPhase phase) {
  switch (phase) {
    case BackupPhase::kIdle:
      return "idle";
    case BackupPhase::kStarting:
      return "starting";
    case BackupPhase::kConnecting:
      return "connecting to the repository";
    case BackupPhase::kCheckpoint:
      return "waiting for checkpoint";
    case BackupPhase::kCopying:
      return "copying files";
    case BackupPhase::kStopping:
      return "stopping";
    case BackupPhase::kWaitingForWal:
      return "waiting for WAL to be archived";
    case BackupPhase::kCommitting:
      return "committing";
    case BackupPhase::kExpiring:
      return "expiring";
    case BackupPhase::kSucceeded:
      return "succeeded";
    case BackupPhase::kFailed:
      return "failed";
  }
  return "unknown";
}

SharedBackup ReadSharedBackup() {
  return CopyPart<&SharedState::backup>();
}

SharedProgress* GetSharedProgress() {
  SharedState* const state = GetSharedState();
  return state != nullptr ? &state->progress : nullptr;
}

void InitialiseProgress(SharedProgress* progress) {
  for (pg_atomic_uint64* number : NumbersOf(progress)) {
    pg_atomic_init_u64(number, 0);
  }
}

void ResetProgress(SharedProgress* progress) {
  for (pg_atomic_uint64* number : NumbersOf(progress)) {
    pg_atomic_write_u64(number, 0);
  }
}

SharedOwnBackups ReadOwnBackups() {
  return CopyPart<&SharedState::own_backups>();
}

void RememberOwnBackup(BackupType type, const std::array<std::uint8_t, 32>& manifest_sha256) {
  UpdatePart<&SharedState::own_backups>([&](SharedOwnBackups& own) {
    own.newest = {.known = true, .sha256 = manifest_sha256};
    if (type == BackupType::kFull) {
      own.full = own.newest;
    }
  });
}

void RememberOwnCopy(const std::array<std::uint8_t, 32>& finished_json_sha256) {
  UpdatePart<&SharedState::own_backups>(
      [&](SharedOwnBackups& own) { own.copy = {.known = true, .sha256 = finished_json_sha256}; });
}

void ForgetOwnCopy() {
  UpdatePart<&SharedState::own_backups>([](SharedOwnBackups& own) { own.copy.known = false; });
}

}  // namespace veza::pg
