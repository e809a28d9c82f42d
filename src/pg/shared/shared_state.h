// Everything that the processes of one server share: the parts, and the lock that guards most of
// them. Only the .cpp files that write a part include this header. Whoever reads a part includes
// the header of that part.
//
//   part           owner: what writes it                     guarded by
//   backup         pg/backup/backup_slot.cpp                 lock
//   own_backups    pg/backup, the backup worker              lock
//   progress       pg/backup, the backup worker              no lock: each number is atomic
//   inventory      pg/backup, an inventory worker            no lock: read after that has ended
//   dropper        pg/backup, the worker that drops empty    no lock: read after that has ended
//                  databases
//   slots          pg/schedule, the scheduler                lock
//   key            pg/schedule, the scheduler                lock
//   archive        pg/archive, the archiver                  lock
//   archive_watch  pg/archive, in the scheduler              lock
//
// A part is plain memory, and zeros are its initial state. The server sets the memory up when it
// starts, and again after it has ended all its processes because one of them has crashed.
#pragma once

#include <type_traits>
#include <utility>

#include "pg/postgres.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_backup.h"
#include "pg/shared/shared_key.h"
#include "pg/shared/shared_slots.h"
#include "pg/shared/shared_workers.h"

namespace veza::pg {

struct SharedState {
  LWLock* lock;

  SharedBackup backup;
  SharedOwnBackups own_backups;
  SharedProgress progress;
  SharedInventory inventory;
  SharedDropper dropper;
  SharedSlots slots;
  SharedKey key;
  SharedArchive archive;
  SharedArchiveWatch archive_watch;
};
static_assert(std::is_trivial_v<SharedState>);

// Null when the library was not preloaded.
SharedState* GetSharedState();

// Calls `change` with a part, as in UpdatePart<&SharedState::key>(...), while the lock is held:
// `change` must be short and must not raise an ERROR. Does nothing without shared memory.
template <auto Part, typename Change>
void UpdatePart(Change change) {
  SharedState* const state = GetSharedState();
  if (state == nullptr) {
    return;
  }
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  change(state->*Part);
  LWLockRelease(state->lock);
}

// A copy of a part, made while the lock is held. All zeros without shared memory.
template <auto Part>
auto CopyPart() {
  std::remove_reference_t<decltype(std::declval<SharedState&>().*Part)> copy{};
  if (SharedState* const state = GetSharedState(); state != nullptr) {
    LWLockAcquire(state->lock, LW_SHARED);
    copy = state->*Part;
    LWLockRelease(state->lock);
  }
  return copy;
}

}  // namespace veza::pg
