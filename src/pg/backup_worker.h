// The backup worker: one dynamic background worker a backup.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Claims the slot of this server and starts a worker; raises ERROR when another backup runs or no
// worker can be had. Returns the request's id and the worker's handle.
struct BackupRequest {
  std::uint64_t id;
  BackgroundWorkerHandle* handle;
};
BackupRequest StartBackupWorker(bool fast);

// Waits until the backup has its label (`until_done` false) or has ended, and returns the label in
// the current memory context. Raises the worker's error. When the waiting is interrupted, the
// backup is cancelled.
char* WaitForBackup(const BackupRequest& request, bool until_done);

}  // namespace veza::pg
