#include "pg/shared/shared_state.h"

#include <array>

namespace veza::pg {

namespace {

constexpr char kTrancheName[] = "veza_backup";

SharedState* shared_state = nullptr;
shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

std::array<pg_atomic_uint64*, 6> NumbersOf(SharedProgress* progress) {
  return {&progress->bytes_total, &progress->bytes_done,   &progress->files_total,
          &progress->files_done,  &progress->bytes_stored, &progress->throttled_us};
}

void RequestMemory() {
  if (previous_request_hook != nullptr) {
    previous_request_hook();
  }
  RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
  RequestNamedLWLockTranche(kTrancheName, 1);
}

void Startup() {
  if (previous_startup_hook != nullptr) {
    previous_startup_hook();
  }
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  bool found = false;
  shared_state =
      static_cast<SharedState*>(ShmemInitStruct("veza_backup", sizeof(SharedState), &found));
  if (!found) {
    memset(static_cast<void*>(shared_state), 0, sizeof(SharedState));
    shared_state->lock = &GetNamedLWLockTranche(kTrancheName)->lock;
    shared_state->phase = BackupPhase::kIdle;
    for (pg_atomic_uint64* number : NumbersOf(&shared_state->progress)) {
      pg_atomic_init_u64(number, 0);
    }
  }
  LWLockRelease(AddinShmemInitLock);
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

void RequestSharedState() {
  previous_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = Startup;
}

SharedState* GetSharedState() {
  return shared_state;
}

void ResetProgress(SharedProgress* progress) {
  for (pg_atomic_uint64* number : NumbersOf(progress)) {
    pg_atomic_write_u64(number, 0);
  }
}

SharedState* RequireSharedState() {
  if (shared_state == nullptr) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("veza_backup is not loaded"),
             errhint("Add veza_backup to shared_preload_libraries and restart the server.")));
  }
  return shared_state;
}

}  // namespace veza::pg
