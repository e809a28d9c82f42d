// Who of all the nodes of a cluster may back up or expire now: the holder of lock/<epoch>, of which
// the highest counts (FORMAT.md section 8).
//
// The lock decides by the store's own time alone, so nodes' clocks may disagree as they like; only
// a process of this very machine that has ended is known to be dead at once. The lock cannot stop a
// process that was stopped itself and does not know how long: therefore whoever holds it calls
// RequireHeld() right before anything that cannot be taken back.
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

// The highest lock/<epoch>; epoch 0: there is none.
struct LockState {
  std::uint64_t epoch = 0;
  bool held = false;
  bool alive = false;  // held, renewed within its lease by the store's own time, not seen to end
  std::string node{};
  std::string purpose{};
  TimePoint acquired{};  // both by the store's clock
  TimePoint renewed{};
  SlotRecords slots{};
  std::string needs_wal{};  // LockDocument::needs_wal, while it is alive
};

// kDataCorrupted, kPermissionDenied and the like, naming the object, when it is damaged or forged.
Result<LockState> ReadLockState(const Repository& repository);

struct ClusterLockOptions {
  std::string purpose{};  // "full backup": for whoever finds the lock taken
  std::chrono::seconds lease{120};
  // Whoever could not renew it for a lease, because the store was away, takes it again when nobody
  // else has had it meanwhile: then nothing has changed that only a holder may change.
  bool regain = false;
};

// Held from Acquire() until Release(), or until it is lost: taken over by another node after a
// lease without renewal, or (unless `regain`) given up because this process could not renew it for
// a lease. Once lost it stays lost. Thread-safe, but for Release…() and the destructor, which one
// thread calls. The repository must outlive it.
class ClusterLock {
 public:
  // Takes a lock that is free, was released, or whose holder is dead, and keeps renewing it from a
  // thread of its own (which inherits the caller's signal mask). kFailedPrecondition, naming node,
  // purpose and since when, while somebody alive holds it. A store that has no conditional writes
  // may give it to two at the same moment; then one of them loses it at its next renewal.
  static Result<std::unique_ptr<ClusterLock>> Acquire(const Repository& repository,
                                                      const ClusterLockOptions& options);

  // Stops renewing and does not release: without Release() others wait until the lease is over.
  ~ClusterLock();
  ClusterLock(const ClusterLock&) = delete;
  ClusterLock& operator=(const ClusterLock&) = delete;

  // Another one after each time that it was regained.
  std::uint64_t epoch() const;
  // What the nodes before us have left, and what we have set.
  SlotRecords slots() const;

  // Asks the store whether we still hold it, and takes it again if it may be. kFailedPrecondition
  // when it is lost.
  Status RequireHeld();

  // Durable, and seen by every later holder, when it returns success. Sets `node` and `updated`.
  Status SetSlot(const std::string& schedule, SlotRecord record);

  // Says that the backup waits for this object of the archive, until the lock is released.
  Status SetNeededWal(const std::string& object);

  // Lets the next one in at once. The slots stay. Releasing twice, or what is lost, is a success.
  Status Release();

  // The same for who has been told to stop: tries it for so long although the environment is
  // cancelled, and leaves it cancelled. Nothing else of the environment may run any more.
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
  std::string successor_;  // holder of the next epoch, which we may have created; with write_mutex_

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
