// The slot of the one backup that may run on a server. Whoever wants a backup claims it, the worker
// that makes the backup fills it in, and both watch it. It is in shared memory (shared_backup.h).
#pragma once

#include "pg/postgres.h"
#include "pg/shared/shared_backup.h"

namespace veza::pg {

struct BackupOrder {
  bool diff;  // a full is taken instead when there is nothing to refer to
  bool fast;  // checkpoint at once
  // Of a scheduled backup: its slot, in microseconds since 1970, and the how manieth attempt.
  std::int64_t slot_us = 0;
  int attempt = 0;
  bool wait_for_running = false;  // until the backup that runs has ended
};

// --- For who wants a backup ----------------------------------------------------------------------

// The request's id and the worker's handle.
struct BackupRequest {
  std::uint64_t id;
  BackgroundWorkerHandle* handle;
};

// Claims the slot of this server and starts a worker; raises ERROR when another backup runs (unless
// it is to be waited for) or no worker can be had.
BackupRequest StartBackupWorker(const BackupOrder& order);
// A backup that is due has not even begun: a failure for whoever looks, like one of a worker.
void RecordFailedStart(const BackupOrder& order, const ErrorReport* report);

// Waits until the backup has its label (`until_done` false) or has ended, passes on the worker's
// notice, and returns the label in the current memory context. Raises the worker's error. When the
// waiting is interrupted, the backup is cancelled, whether by an ERROR or a FATAL; a conflict with
// recovery on a standby is no such wish, and the backup goes on.
char* WaitForBackup(const BackupRequest& request, bool until_done);

// A look without waiting, for who does other things meanwhile. `error` of one that ended and
// failed.
struct BackupOutcome {
  bool ended;
  bool succeeded;
  ErrorReport error;
};
BackupOutcome LookAtBackup(const BackupRequest& request);

// Asks the backup that runs on this server, whoever wanted it, to stop. False: none runs.
bool CancelRunningBackup();

// --- For the worker ------------------------------------------------------------------------------

// True: the request is still waited for, and is ours now.
bool TakeRequest(std::uint64_t request_id, BackupOrder* order);
void SetPhase(BackupPhase phase);
// What it is to be; `notice` may be empty.
void PublishLabel(const char* label, bool diff, const char* notice);
// Told to whoever waits for the backup at once, and instead of an earlier one.
void PublishNotice(const char* notice);
// The end, with the reason when it is a failure.
void FinishSucceeded();
void FinishFailed(const ErrorReport* report);

}  // namespace veza::pg
