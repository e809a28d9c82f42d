#include "pg/shared/shared_state.h"

#include "pg/shared/shared_memory.h"

namespace veza::pg {

namespace {

constexpr char kTrancheName[] = "veza_backup";

SharedState* shared_state = nullptr;
shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

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
    InitialiseProgress(&shared_state->progress);
  }
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void RequestSharedMemory() {
  previous_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = Startup;
}

void RequireSharedMemory() {
  if (shared_state == nullptr) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("veza_backup is not loaded"),
             errhint("Add veza_backup to shared_preload_libraries and restart the server.")));
  }
}

SharedState* GetSharedState() {
  return shared_state;
}

}  // namespace veza::pg
