// What the processes of one server share about backups: the slot of the one that may run.
#pragma once

#include <cstdint>

#include "pg/boundary.h"

namespace veza::pg {

enum class BackupPhase : std::uint32_t {
  kIdle,        // no backup since the server started
  kStarting,    // requested; the worker is coming up
  kConnecting,  // opening the repository
  kCheckpoint,  // waiting for the start of the backup
  kCopying,
  kStopping,
  kWaitingForWal,
  kCommitting,
  kSucceeded,
  kFailed,
};
const char* BackupPhaseName(BackupPhase phase);
inline bool IsRunning(BackupPhase phase) {
  return phase != BackupPhase::kIdle && phase != BackupPhase::kSucceeded &&
         phase != BackupPhase::kFailed;
}

inline constexpr std::size_t kLabelLength = 64;

// Guarded by `lock` but for the counters.
struct SharedState {
  LWLock* lock;

  std::uint64_t request_id;  // of the last request; 0 before the first
  BackupPhase phase;
  bool fast;                 // requested: checkpoint at once
  pid_t worker_pid;          // 0 until the worker is up
  char label[kLabelLength];  // empty until it is chosen
  TimestampTz started_at;
  ErrorReport error;  // valid in phase kFailed

  pg_atomic_uint64 bytes_total;
  pg_atomic_uint64 bytes_done;
  pg_atomic_uint64 bytes_stored;
};

// In _PG_init of a preloaded library: asks for the memory.
void RequestSharedState();

// Null when the library was not preloaded.
SharedState* GetSharedState();

// The same, or an ERROR that tells what to set.
SharedState* RequireSharedState();

}  // namespace veza::pg
