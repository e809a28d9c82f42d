// What the scheduler tells the other processes about identity and key of the repository
// (key_watch.h), since the server was started.
#pragma once

#include <cstdint>

#include "pg/boundary.h"

extern "C" {
#include <storage/latch.h>
}

namespace veza::pg {

// Written by the scheduler; any process may set `look_is_wanted`. Guarded by the lock of
// SharedState. Times are microseconds since 1970.
struct SharedKey {
  std::int64_t looked_us;    // 0: never since this repository was set
  bool held;                 // the scheduler has identity and key in memory
  char key_id[33];           // of the key that it holds; empty with cipher none
  bool failing;              // the last look has failed
  ErrorReport error;         // of the last look, if that has failed
  std::int64_t put_back_us;  // 0: never
  char put_back[256];        // names of objects
  bool look_is_wanted;       // another process has asked for a look
  Latch* watcher;            // the scheduler's; it stays valid after the scheduler has ended
};

// The scheduler reports what it found. All of these do nothing without shared memory.
void ReportKeyHeld(std::int64_t at_us, const char* key_id);
void ReportKeyFailure(std::int64_t at_us, const ErrorReport* error);
void ReportKeyPutBack(std::int64_t at_us, const char* names);
// The latch by which the scheduler is woken when a look is wanted.
void ReportKeyWatcher(Latch* latch);
// For a process that has met a repository without its identity or key: the scheduler looks soon,
// and puts back what it can.
void AskForLookAtKey();
// Whether a process has asked since the last call.
bool TakeKeyRequest();
// The repository is another one now: nothing that was known of it is true any more.
void ForgetKey();

// A copy; all zeros without shared memory.
SharedKey ReadSharedKey();

}  // namespace veza::pg
