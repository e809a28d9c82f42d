// What the processes of one server share about backups: the slot of the one that may run.
#pragma once

#include <cstdint>

#include "pg/boundary.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_key.h"

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
  kExpiring,  // it exists; those that it has made superfluous go
  kSucceeded,
  kFailed,
};
const char* BackupPhaseName(BackupPhase phase);
inline bool IsRunning(BackupPhase phase) {
  return phase != BackupPhase::kIdle && phase != BackupPhase::kSucceeded &&
         phase != BackupPhase::kFailed;
}

inline constexpr std::size_t kLabelLength = 64;

// A backup that this server could not finish.
struct FailedBackup {
  char label[kLabelLength];  // empty when it had none yet
  bool diff;
  TimestampTz at;  // 0: there was none since the server started
  ErrorReport error;
};

// How far the backup is. Read and written without the lock, each number by itself.
struct SharedProgress {
  pg_atomic_uint64 bytes_total;
  pg_atomic_uint64 bytes_done;
  pg_atomic_uint64 files_total;
  pg_atomic_uint64 files_done;
  pg_atomic_uint64 bytes_stored;
  pg_atomic_uint64 throttled_us;
};

// What the scheduler knows of one kind of backup; times are microseconds since 1970.
struct SharedSlot {
  bool known;
  std::int64_t slot_us;
  int state;  // a SlotState
  int attempts;
  std::int64_t updated_us;
  std::int64_t since_us;  // the schedule is in force; 0: always
  char node[128];
  char label[kLabelLength];
  char error[1024];
};
inline constexpr int kScheduleKinds = 2;  // by ScheduleKind

// Guarded by `lock` but for the progress.
struct SharedState {
  LWLock* lock;

  std::uint64_t request_id;  // of the last request; 0 before the first
  BackupPhase phase;
  bool diff;                 // requested, then what is really made
  bool fast;                 // requested: checkpoint at once
  std::int64_t slot_us;      // of a scheduled backup: since 1970 in microseconds; otherwise 0
  int attempt;               // of a scheduled backup
  pid_t worker_pid;          // 0 until the worker is up
  char label[kLabelLength];  // empty until it is chosen
  char notice[512];          // for the requester, set before the label; may be empty
  TimestampTz started_at;
  TimestampTz copying_since;  // 0 until files are copied
  ErrorReport error;          // valid in phase kFailed

  FailedBackup last_failure;  // until a backup succeeds

  // The newest full backup that was made since this memory was set up, by the digest of its
  // manifest: since then this server's settings of data checksums and wal_log_hints have been what
  // they are (DiffCandidate::own_full).
  bool made_full;
  std::uint8_t full_manifest[32];

  // The newest copy that lacks nothing but its WAL and was made since this memory was set up, by
  // the digest of its finished.json (CopyWanted::own).
  bool made_copy;
  std::uint8_t finished_copy[32];

  SharedSlot slots[kScheduleKinds];

  SharedArchive archive;

  SharedKey key;

  SharedProgress progress;

  // What an inventory worker has written (inventory.cpp): the backup worker starts one at a time
  // and reads when it has ended, so the lock is not needed.
  bool inventory_is_whole;
  std::size_t inventory_size;
  char inventory[64 * 1024];

  // The worker that drops empty databases (empty_databases.cpp) has a connection. The scheduler
  // starts one at a time and reads when it has ended.
  bool dropper_connected;
};

// In _PG_init of a preloaded library: asks for the memory.
void RequestSharedState();

// Null when the library was not preloaded.
SharedState* GetSharedState();

// The same, or an ERROR that tells what to set.
SharedState* RequireSharedState();

// Back to nothing, before a backup.
void ResetProgress(SharedProgress* progress);

}  // namespace veza::pg
