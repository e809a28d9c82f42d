// What a server's processes share about its backups: the one that runs or ran last, how far it is,
// and what is remembered of earlier ones. backup_slot.h has the functions that change the first.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "core/environment.h"
#include "core/repository/names.h"
#include "pg/boundary.h"
#include "pg/shared/shared_memory.h"

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
  kExpiring,  // the backup exists; backups and WAL that retention does not keep are removed
  kSucceeded,
  kFailed,
};
const char* BackupPhaseName(BackupPhase phase);
inline bool IsRunning(BackupPhase phase) {
  return phase != BackupPhase::kIdle && phase != BackupPhase::kSucceeded &&
         phase != BackupPhase::kFailed;
}

// A backup that this server could not finish.
struct FailedBackup {
  char label[kLabelLength];  // empty when it had none yet
  BackupType type;
  TimestampTz at;  // 0: no backup has failed since the server started
  ErrorReport error;
};

// The one backup that may run on this server. Whoever asks for a backup claims it, and the worker
// fills it in. Guarded by the lock of SharedState.
struct SharedBackup {
  std::uint64_t request_id;  // of the last request; 0 before the first
  BackupPhase phase;
  BackupType type;           // what was requested, and later what is really made
  bool fast;                 // requested: checkpoint at once
  std::int64_t slot_us;      // of a scheduled backup: since 1970 in microseconds; otherwise 0
  int attempt;               // of a scheduled backup
  pid_t worker_pid;          // 0 until the worker is up
  char label[kLabelLength];  // empty until it is chosen
  char notice[512];          // for the requester, set before the label; may be empty
  TimestampTz started_at;
  // By the steady clock, which is the same in every process of this machine, in microseconds. 0
  // until files are copied.
  std::int64_t copying_since_us;
  ErrorReport error;  // valid in phase kFailed

  FailedBackup last_failure;  // until a backup succeeds
};

// The steady clock as SharedBackup::copying_since_us has it.
inline std::int64_t SteadyMicroseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             SystemClock().Steady().time_since_epoch())
      .count();
}

// A copy; all zeros without shared memory.
SharedBackup ReadSharedBackup();

// How far the backup is. Written by the backup worker. There is no lock: each number is read and
// written by itself.
struct SharedProgress {
  pg_atomic_uint64 bytes_total;
  pg_atomic_uint64 bytes_done;
  pg_atomic_uint64 files_total;
  pg_atomic_uint64 files_done;
  pg_atomic_uint64 bytes_stored;
  pg_atomic_uint64 throttled_us;
};

// Null without shared memory.
SharedProgress* GetSharedProgress();
// Once, when the memory is set up.
void InitialiseProgress(SharedProgress* progress);
// Sets all numbers to 0, before a backup.
void ResetProgress(SharedProgress* progress);

struct SharedDigest {
  bool known;
  std::array<std::uint8_t, 32> sha256;
};

// Backups that this server has made since this memory was set up. Written by the backup worker.
// Guarded by the lock of SharedState.
struct SharedOwnBackups {
  // The newest full backup, and the newest backup of any type, by their manifests. Since the older
  // of the two was made, this server's settings of data checksums and wal_log_hints have not
  // changed (ServerFit::own_full).
  SharedDigest full;
  SharedDigest newest;
  // The newest copy that lacks nothing but its WAL, by its finished.json (CopyWanted::own).
  SharedDigest copy;
};

SharedOwnBackups ReadOwnBackups();
void RememberOwnBackup(BackupType type, const std::array<std::uint8_t, 32>& manifest_sha256);
void RememberOwnCopy(const std::array<std::uint8_t, 32>& finished_json_sha256);
void ForgetOwnCopy();

}  // namespace veza::pg
