// The slot of the one backup that may run on a server. Whoever wants a backup claims it, the worker
// that makes the backup fills it in, and both watch it. It is in shared memory (shared_backup.h).
#pragma once

#include "pg/postgres.h"
#include "pg/shared/shared_backup.h"

namespace veza::pg {

struct BackupOrder {
  BackupType type;  // a full backup is taken when there is none to build on
  bool fast;        // the checkpoint is made at once
  // Of a scheduled backup: its slot, in microseconds since 1970, and the attempt number, from 1.
  std::int64_t slot_us = 0;
  int attempt = 0;
  bool wait_for_running = false;  // wait until the backup that runs has ended
};

// --- For processes that want a backup ------------------------------------------------------------

struct BackupRequest {
  std::uint64_t id;
  BackgroundWorkerHandle* handle;
};

// Claims the slot of this server and starts a worker. Raises ERROR when another backup runs (unless
// the order says to wait for it) or when no worker can be started.
BackupRequest StartBackupWorker(const BackupOrder& order);
// Records that a backup which is due could not even be started. It is shown like the failure of a
// worker.
void RecordFailedStart(const BackupOrder& order, const ErrorReport* report);

// Waits until the backup has ended, or with `until_done` false only until it has its label. Passes
// on the worker's notice, and returns the label in the current memory context. Raises the worker's
// error. When an ERROR or FATAL interrupts the waiting, the backup is cancelled. Only a conflict
// with recovery on a standby lets it go on: nobody wanted to cancel it.
char* WaitForBackup(const BackupRequest& request, bool until_done);

// The same without waiting, for processes that do other things meanwhile. `error` is set when the
// backup has ended and failed.
struct BackupOutcome {
  bool ended;
  bool succeeded;
  ErrorReport error;
};
BackupOutcome LookAtBackup(const BackupRequest& request);

// Asks the backup that runs on this server to stop, whoever wanted it. False when none runs.
bool CancelRunningBackup();

// --- For the worker ------------------------------------------------------------------------------

// Takes the request. False when nobody waits for it any more.
bool TakeRequest(std::uint64_t request_id, BackupOrder* order);
void SetPhase(BackupPhase phase);
// Publishes what the backup will be. `notice` may be empty.
void PublishLabel(const char* label, BackupType type, const char* notice);
// Sends a notice to the process that waits for the backup, at once. It replaces an earlier one.
void PublishNotice(const char* notice);
// The backup has ended. The report says why it has failed.
void FinishSucceeded();
void FinishFailed(const ErrorReport* report);

}  // namespace veza::pg
