// The lock that decides which node of a cluster may back up or expire now. The object is
// lock/<epoch>; the highest epoch counts, and its holder holds the lock (FORMAT.md section 8).
//
// Only the store's time decides whether a lock is alive, so the clocks of the nodes do not matter.
// There is one exception: a holder on this machine whose process has ended is known to be dead at
// once. The lock cannot stop a holder that was suspended and does not know for how long. Therefore
// a holder calls RequireHeld() immediately before anything that cannot be undone.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "core/repository/lock_document.h"
#include "core/repository/repository.h"
#include "core/thread_group.h"

namespace veza {

// What lock/<epoch> of the highest epoch says. Epoch 0 means that there is none.
struct LockState {
  std::uint64_t epoch = 0;
  bool held = false;
  // Held, renewed within its lease by the store's time, and its process is not known to have ended.
  bool alive = false;
  std::string node{};
  std::string purpose{};
  TimePoint acquired{};  // this time and `renewed` are by the store's clock
  TimePoint renewed{};
  SlotRecords slots{};      // but for those of the future (RemoveFutureSlots)
  TimePoint now{};          // by the store's clock; unset if there has been no lock yet
  std::string needs_wal{};  // LockDocument::needs_wal, while it is alive
};

// Errors name the object when it is damaged (kDataCorrupted), forged (kPermissionDenied) or cannot
// be used for another reason. A damaged one counts as released, without slots, when no lock has
// been written for a usual lease (ClusterLockOptions::lease): no holder could renew it.
Result<LockState> ReadLockState(const Repository& repository);

// The time that this node plans slots by: PlanningTime() of its clock and the store's.
Result<TimePoint> ReadPlanningTime(const Repository& repository);

struct ClusterLockOptions {
  std::string purpose{};  // for example "full backup"; shown to nodes that find the lock taken
  std::chrono::seconds lease{120};
  // If the lock could not be renewed for a whole lease because the store was unreachable, take it
  // again, provided that no other node has held it meanwhile. Then nothing has changed that only a
  // holder may change.
  bool regain = false;
};

// How long a command may try to release its lock for the next node after Ctrl-C.
inline constexpr std::chrono::milliseconds kReleasePatience{1000};

// A lock that is held from Acquire() until Release(), or until it is lost. It is lost when another
// node takes it over after a lease without renewal, or (unless `regain`) when this process could
// not renew it for a lease. A lost lock stays lost. Thread-safe, except that one thread alone calls
// Release(), ReleaseWithin() and the destructor. The repository must outlive the lock.
class ClusterLock {
 public:
  // Takes a lock that is free, was released, or whose holder is dead, and renews it from a thread
  // of its own (which inherits the caller's signal mask). While a living holder has it:
  // kFailedPrecondition, naming its node, its purpose and since when. A store without conditional
  // writes may give the lock to two nodes at the same moment; one of them then loses it at its next
  // renewal.
  static Result<std::unique_ptr<ClusterLock>> Acquire(const Repository& repository,
                                                      const ClusterLockOptions& options);

  // Stops renewing, but does not release. Without Release(), other nodes wait until the lease has
  // ended.
  ~ClusterLock();
  ClusterLock(const ClusterLock&) = delete;
  ClusterLock& operator=(const ClusterLock&) = delete;

  // Changes each time the lock is regained.
  std::uint64_t epoch() const;
  // What earlier holders have recorded, and what SetSlot() has recorded since.
  SlotRecords slots() const;

  // Asks the store whether this lock is still held. With `regain`, takes it again if that is
  // allowed. kFailedPrecondition when the lock is lost.
  Status RequireHeld();

  // Sets `node` and `updated` of the record and stores it. After success the record is durable, and
  // every later holder sees it.
  Status SetSlot(const std::string& schedule, SlotRecord record);

  // Records that this backup waits for the given object of the archive, until the lock is released.
  Status SetNeededWal(const std::string& object);

  // Lets the next node take the lock at once. The slots stay. Success also when the lock was
  // already released or is lost.
  Status Release();

  // The same, for a process that was told to stop: tries for at most `patience` although the
  // environment is cancelled, and leaves the environment cancelled if it was. No other operation
  // may use the environment meanwhile.
  Status ReleaseWithin(std::chrono::milliseconds patience);

 private:
  ClusterLock(const Repository& repository, std::uint64_t epoch, LockDocument document,
              bool regain);

  Result<bool> Create(std::uint64_t epoch, const LockDocument& document) const;
  void RenewUntilStopped();
  LockDocument document() const;
  Status Write(const std::function<void(LockDocument&)>& change);
  Status WriteOnce(const std::function<void(LockDocument&)>& change);
  Status HoldAgain();
  Status Regain();
  bool IsInLease() const;
  Status RequireLease();
  Error Lapsed() const;
  Error Lose(std::string reason);

  const Repository& repository_;
  const std::chrono::seconds lease_;
  const bool regain_;

  std::mutex write_mutex_;  // one writer of our object at a time; taken before mutex_
  // The holder in the next epoch's lock, which a lost request may have created; guarded by
  // write_mutex_.
  std::string successor_;

  mutable std::mutex mutex_;
  std::uint64_t epoch_;
  LockDocument document_;  // as stored
  SteadyTime renewed_{};   // when the last successful write began
  std::optional<Error> lost_;
  std::string last_trouble_;  // why the last renewal failed

  Cancellation stop_;
  ThreadGroup renewer_;
};

}  // namespace veza
