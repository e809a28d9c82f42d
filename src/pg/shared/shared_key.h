// What the scheduler tells other processes about identity and key (key_watch.h), in shared memory.
#pragma once

#include <cstdint>

#include "pg/boundary.h"
//
#include "pg/postgres.h"

extern "C" {
#include <storage/latch.h>
}

namespace veza::pg {

// Part of SharedState, and guarded by its lock. Times are microseconds since 1970.
struct SharedKey {
  std::int64_t looked_us;    // last look; 0 when there was none since this repository was set
  bool held;                 // the scheduler holds both in memory
  char key_id[33];           // of the key that is held; empty with cipher none
  bool failing;              // the last look failed
  ErrorReport error;         // of the last look that failed
  std::int64_t put_back_us;  // 0 when nothing was put back
  char put_back[256];        // names of the objects that were put back
  bool look_is_wanted;       // another process has asked for a look
  Latch* watcher;            // the scheduler's latch; it stays valid when the scheduler ends
};

// Reports of the scheduler. They do nothing without shared memory.
void ReportKeyHeld(std::int64_t at_us, const char* key_id);
void ReportKeyFailure(std::int64_t at_us, const ErrorReport* error);
void ReportKeyPutBack(std::int64_t at_us, const char* names);
// The latch of the process that looks, so that others can wake it.
void ReportKeyWatcher(Latch* latch);
// Asks the scheduler to look soon and to put back what is missing. Called by a process that has
// found identity or key missing or changed.
void AskForLookAtKey();
// Whether a look was asked for since the last call.
bool TakeKeyRequest();
// Forgets everything but the latch. Called when another repository is set.
void ForgetKey();

// Returns a copy.
SharedKey ReadSharedKey();

}  // namespace veza::pg
