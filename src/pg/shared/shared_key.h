// What the scheduler tells the others of identity and key (key_watch.h), since the server was
// started.
#pragma once

#include <cstdint>

#include "pg/boundary.h"
//
#include "pg/postgres.h"

extern "C" {
#include <storage/latch.h>
}

namespace veza::pg {

// Guarded by the lock of SharedState, whose part it is. Times are microseconds since 1970.
struct SharedKey {
  std::int64_t looked_us;    // 0: not since this repository is the one that is set
  bool held;                 // this server has them in memory
  char key_id[33];           // that it holds; empty with cipher none
  bool failing;              // at the last look
  ErrorReport error;         // then
  std::int64_t put_back_us;  // 0: never
  char put_back[256];        // names of objects
  bool look_is_wanted;       // by another process
  Latch* watcher;            // the scheduler's; it outlives the scheduler
};

// What the scheduler reports; nothing without shared memory.
void ReportKeyHeld(std::int64_t at_us, const char* key_id);
void ReportKeyFailure(std::int64_t at_us, const ErrorReport* error);
void ReportKeyPutBack(std::int64_t at_us, const char* names);
// Who looks, so that it can be asked to.
void ReportKeyWatcher(Latch* latch);
// Somebody has met a repository whose identity or key are not as they should be: the scheduler
// looks soon, and puts back what it can.
void AskForLookAtKey();
// Whether somebody has asked since the last call.
bool TakeKeyRequest();
// Another repository.
void ForgetKey();

// A copy.
SharedKey ReadSharedKey();

}  // namespace veza::pg
