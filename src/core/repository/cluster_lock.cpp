#include "core/repository/cluster_lock.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "core/clock_tolerance.h"
#include "core/limits.h"
#include "core/process_identity.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr int kRenewalsPerLease = 4;
constexpr std::uint64_t kLastEpoch = 9'999'999'999;
// How often another node may take the lock between our look and our attempt.
constexpr int kMaxRaces = 20;
// How often the newest object may vanish between listing and reading. Each time, a newer one has
// been created.
constexpr int kMaxVanishings = 20;

// What no holder has renewed for this long is dead, even if it cannot be read.
std::chrono::seconds UsualLease() {
  return ClusterLockOptions().lease;
}
// An object that cannot be read may have been named by anybody. No epoch is taken above a number
// that would leave too few for the future.
constexpr std::uint64_t kLastUnreadEpoch = 9'000'000'000;

struct LockObject {
  std::uint64_t epoch = 0;
  TimePoint modified{};
  // When any lock was last written, also one of a lower epoch. A foreign object may have been
  // copied there with an old time while the holder of a lower epoch is at work.
  TimePoint any_modified{};
};

// The lock with the highest epoch. Names that are no lock's are ignored.
Result<std::optional<LockObject>> FindHighest(const Repository& repository) {
  std::optional<LockObject> highest;
  RETURN_IF_ERROR(repository.store().List(kLockPrefix, "", [&](const ObjectInfo& object) {
    if (const auto epoch = ParseLockName(object.name)) {
      const TimePoint before = highest ? highest->any_modified : object.modified;
      highest = {*epoch, object.modified, std::max(before, object.modified)};
    }
    return Ok();
  }));
  return highest;
}

struct FoundLock {
  LockObject object;
  LockDocument document;
  bool is_abandoned = false;  // it cannot be read, and nobody renews it; `document` is empty
};

std::string HowToDelete(const Repository& repository, std::uint64_t epoch) {
  return fmt::format(
      "No backup or expiry can start while this object exists. Find out who wrote object \"{}\" of "
      "repository \"{}\". If no backup or expiry is running on any node, delete it.",
      LockName(epoch), repository.store().location());
}

// The lock that cannot be read because of `damage`, if nobody holds it: a holder could not renew it
// either. A takeover is then as safe as that of any dead holder, because the next epoch is higher.
// Otherwise the error, with a hint. Another format, or a missing signature, is no damage.
Result<FoundLock> Abandoned(const Repository& repository, const LockObject& lock, Error damage) {
  const bool is_damaged = damage.code == ErrorCode::kDataCorrupted;
  if (is_damaged || damage.hint.empty()) {
    damage.hint = HowToDelete(repository, lock.epoch);
  }
  if (!is_damaged || lock.epoch > kLastUnreadEpoch) {
    return damage;
  }
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  if (now - lock.any_modified <= UsualLease() + kStoreTimePrecision) {
    damage.hint += fmt::format(
        " Otherwise wait: the lock is taken over when no lock has been written for {} s.",
        UsualLease().count());
    return damage;
  }
  return FoundLock{.object = lock, .document = {}, .is_abandoned = true};
}

Result<std::optional<FoundLock>> FindNewest(const Repository& repository) {
  for (int attempt = 0;; ++attempt) {
    ASSIGN_OR_RETURN(const std::optional<LockObject> highest, FindHighest(repository));
    if (!highest) {
      return std::optional<FoundLock>();
    }
    const LockObject newest = *highest;
    const Result<Bytes> text = GetSmall(repository.store(), LockName(newest.epoch), limits::kLock);
    if (!text && text.error().code == ErrorCode::kNotFound && attempt < kMaxVanishings) {
      continue;
    }
    if (!text && text.error().code != ErrorCode::kDataCorrupted) {
      return text.error();
    }
    Result<LockDocument> document =
        text ? ParseLock(AsText(*text), newest.epoch, repository.seal_policy())
             : Result<LockDocument>(text.error());
    if (document) {
      return std::optional(FoundLock{newest, std::move(*document)});
    }
    ASSIGN_OR_RETURN(FoundLock abandoned,
                     Abandoned(repository, newest, std::move(document.error())));
    return std::optional(std::move(abandoned));
  }
}

// A lock of a time to come was written while the store's clock was ahead: nobody renews it.
bool IsAlive(const FoundLock& lock, TimePoint store_now) {
  return lock.document.held && !HasEnded(lock.document.process) &&
         lock.object.modified <= store_now + kClockTolerance &&
         store_now - lock.object.modified <= lock.document.lease + kStoreTimePrecision;
}

Error HeldByAnother(const Repository& repository, const FoundLock& lock) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "node \"{}\" is at work in repository \"{}\": {}, since {}", lock.document.node,
                   repository.store().location(), lock.document.purpose,
                   FormatUtc(lock.document.acquired))
      .WithHint(fmt::format("Wait until it has finished. If that node is dead, its lock can be "
                            "taken over {} s after it was last renewed, which was at {}.",
                            lock.document.lease.count(), FormatUtc(lock.object.modified)));
}

std::string NewHolder(Random& random) {
  std::array<std::uint8_t, 16> bytes;
  random.Fill(bytes);
  return ToHex(bytes);
}

// Deletes the locks of lower epochs, which no longer count. If one remains, the next holder deletes
// it.
void DeleteLower(const Repository& repository, std::uint64_t epoch) {
  const Result<FirstObjects> locks = ListFirst(repository.store(), kLockPrefix, limits::kOldLocks);
  if (!locks) {
    return;
  }
  for (const ObjectInfo& object : locks->objects) {
    const auto lock = ParseLockName(object.name);
    if (lock && *lock < epoch) {
      [[maybe_unused]] const Status deleted = repository.store().Delete(object.name);
    }
  }
}

}  // namespace

Result<LockState> ReadLockState(const Repository& repository) {
  ASSIGN_OR_RETURN(const std::optional<FoundLock> newest, FindNewest(repository));
  LockState state;
  if (!newest) {
    return state;
  }
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  state.epoch = newest->object.epoch;
  state.held = newest->document.held;
  state.alive = IsAlive(*newest, now);
  state.node = newest->document.node;
  state.purpose = newest->document.purpose;
  state.acquired = newest->document.acquired;
  state.renewed = newest->object.modified;
  state.slots = newest->document.slots;
  RemoveFutureSlots(state.slots, now);
  state.now = now;
  if (state.alive) {
    state.needs_wal = newest->document.needs_wal;
  }
  return state;
}

Result<TimePoint> ReadPlanningTime(const Repository& repository) {
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  return PlanningTime(repository.environment().clock->Now(), now);
}

Result<std::unique_ptr<ClusterLock>> ClusterLock::Acquire(const Repository& repository,
                                                          const ClusterLockOptions& options) {
  for (int race = 0; race < kMaxRaces; ++race) {
    ASSIGN_OR_RETURN(std::optional<FoundLock> newest, FindNewest(repository));
    ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
    if (newest && IsAlive(*newest, now)) {
      return HeldByAnother(repository, *newest);
    }
    const std::uint64_t epoch = newest ? newest->object.epoch + 1 : 1;
    if (epoch > kLastEpoch) {
      return DamagedObject(LockName(epoch - 1), "its epoch is the highest possible one")
          .WithHint(HowToDelete(repository, epoch - 1));
    }
    LockDocument document{.held = true,
                          .holder = NewHolder(*repository.environment().random),
                          .node = repository.options().node,
                          .process = IdentifyThisProcess(),
                          .purpose = options.purpose,
                          .acquired = now,
                          .lease = options.lease,
                          .slots = newest ? std::move(newest->document.slots) : SlotRecords()};
    RemoveFutureSlots(document.slots, now);
    std::unique_ptr<ClusterLock> lock(
        new ClusterLock(repository, epoch, std::move(document), options.regain));
    lock->renewed_ = repository.environment().clock->Steady();
    ASSIGN_OR_RETURN(const bool created, lock->Create(epoch, lock->document_));
    if (created) {
      DeleteLower(repository, epoch);
      const Status started =
          lock->renewer_.Start([self = lock.get()] { self->RenewUntilStopped(); });
      if (!started) {
        [[maybe_unused]] const Status released = lock->Release();
        return started.error();
      }
      return lock;
    }
  }
  return MakeError(ErrorCode::kUnavailable,
                   "could not get the lock of repository \"{}\": other nodes were faster {} times",
                   repository.store().location(), kMaxRaces)
      .WithHint("Try again when they have finished.");
}

ClusterLock::ClusterLock(const Repository& repository, std::uint64_t epoch, LockDocument document,
                         bool regain)
    : repository_(repository),
      lease_(document.lease),
      regain_(regain),
      epoch_(epoch),
      document_(std::move(document)) {}

ClusterLock::~ClusterLock() {
  stop_.Cancel();
  renewer_.Join();
}

// Returns false if another node was faster. What the store lists afterwards decides, not the result
// of the attempt: a response may be lost, a store may lack conditional writes, and the name may
// have been free only because the holder of a still newer lock has deleted this one.
Result<bool> ClusterLock::Create(std::uint64_t epoch, const LockDocument& document) const {
  const std::string name = LockName(epoch);
  ASSIGN_OR_RETURN(const std::string text,
                   SerializeLock(document, epoch, repository_.seal_policy()));
  const Status put = PutSmall(repository_.store(), name, AsBytes(text), PutMode::kCreate);
  if (!put && put.error().code != ErrorCode::kAlreadyExists && !put.error().retryable) {
    return put.error();
  }
  ASSIGN_OR_RETURN(const std::optional<FoundLock> newest, FindNewest(repository_));
  if (newest && newest->object.epoch == epoch && newest->document.holder == document.holder) {
    return true;
  }
  if (!put && put.error().code != ErrorCode::kAlreadyExists) {
    return put.error();
  }
  return false;
}

void ClusterLock::RenewUntilStopped() {
  const Clock& clock = *repository_.environment().clock;
  const std::chrono::milliseconds pause = std::chrono::milliseconds(lease_) / kRenewalsPerLease;
  while (clock.Sleep(pause, &stop_)) {
    const Status renewed = CatchExceptions([this]() -> Status {
      const std::lock_guard write_lock(write_mutex_);
      return WriteOnce([](LockDocument&) {});
    });
    const std::lock_guard lock(mutex_);
    if (lost_) {
      return;
    }
    last_trouble_ = renewed ? "" : renewed.error().message;
  }
}

// By this process's own clock, without a request.
bool ClusterLock::IsInLease() const {
  const std::lock_guard lock(mutex_);
  return !lost_ && repository_.environment().clock->Steady() - renewed_ <= lease_;
}

// The caller holds write_mutex_.
Status ClusterLock::HoldAgain() {
  return regain_ && !IsInLease() ? Regain() : RequireLease();
}

// Takes the next epoch, as any node may when the holder is dead, provided that this lock was the
// last one held. Another node that wants the lock at the same moment tries to create the same
// object, and only one of them succeeds. The caller holds write_mutex_.
Status ClusterLock::Regain() {
  LockDocument ours = document();
  {
    const std::lock_guard lock(mutex_);
    if (lost_) {
      return *lost_;
    }
  }
  ASSIGN_OR_RETURN(const std::optional<FoundLock> newest, FindNewest(repository_));
  if (!newest || newest->object.epoch < epoch()) {
    return Lose("somebody has deleted it");
  }
  if (newest->is_abandoned) {
    return Lose("its object cannot be read any more");
  }
  const std::string& holder = newest->document.holder;
  if (holder != ours.holder && holder != successor_) {
    return Lose("another node has taken it over");
  }
  const std::uint64_t next = newest->object.epoch + 1;
  if (next > kLastEpoch) {
    return Lose("its epoch is the highest possible one");
  }
  // A request whose response was lost may still take effect. Then the next attempt must write the
  // same holder.
  if (successor_.empty() || holder == successor_) {
    successor_ = NewHolder(*repository_.environment().random);
  }
  ours.holder = successor_;
  const SteadyTime began = repository_.environment().clock->Steady();
  ASSIGN_OR_RETURN(const bool created, Create(next, ours));
  if (!created) {
    return Lose("another node has taken it over");
  }
  {
    const std::lock_guard lock(mutex_);
    epoch_ = next;
    document_ = std::move(ours);
    renewed_ = began;
  }
  successor_.clear();
  DeleteLower(repository_, next);
  return RequireLease();
}

// The caller holds write_mutex_. With `regain`, a write that took longer than a lease is repeated
// under the next epoch. After kAttempts the error says what is wrong with the store.
Status ClusterLock::Write(const std::function<void(LockDocument&)>& change) {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    Status written = WriteOnce(change);
    if (written || !regain_ || IsInLease() || attempt == kAttempts || !written.error().retryable) {
      return written;
    }
  }
}

// Rewrites the lock's object. The caller holds write_mutex_. Succeeds only if it ended within a
// lease from the last successful write, so that no other node can have taken this process for dead
// meanwhile.
Status ClusterLock::WriteOnce(const std::function<void(LockDocument&)>& change) {
  RETURN_IF_ERROR(HoldAgain());
  LockDocument changed = document();
  change(changed);
  const std::uint64_t epoch = this->epoch();
  const std::string name = LockName(epoch);
  ASSIGN_OR_RETURN(const std::string text,
                   SerializeLock(changed, epoch, repository_.seal_policy()));
  const SteadyTime began = repository_.environment().clock->Steady();
  const Result<Bytes> there = GetSmall(repository_.store(), name, limits::kLock);
  if (!there && there.error().code == ErrorCode::kNotFound) {
    return Lose("another node has taken it over");
  }
  RETURN_IF_ERROR(there);
  ASSIGN_OR_RETURN(const LockDocument stored,
                   ParseLock(AsText(*there), epoch, repository_.seal_policy()));
  if (stored.holder != changed.holder) {
    return Lose(
        fmt::format("node \"{}\" took it at the same moment, which the store should have "
                    "prevented by conditional writes",
                    stored.node));
  }
  RETURN_IF_ERROR(RequireLease());
  RETURN_IF_ERROR(PutSmall(repository_.store(), name, AsBytes(text), PutMode::kReplace));
  RETURN_IF_ERROR(RequireLease());
  const std::lock_guard lock(mutex_);
  renewed_ = began;
  document_ = std::move(changed);
  return Ok();
}

Error ClusterLock::Lose(std::string reason) {
  const std::lock_guard lock(mutex_);
  if (!lost_) {
    lost_ = MakeError(ErrorCode::kFailedPrecondition, "the lock of repository \"{}\" was lost: {}",
                      repository_.store().location(), reason)
                .WithHint(
                    "This process was suspended, or could not reach the repository, for too long. "
                    "It has stopped before it could do harm. Try again.");
  }
  return *lost_;
}

Error ClusterLock::Lapsed() const {
  return MakeError(ErrorCode::kUnavailable,
                   "the lock of repository \"{}\" was not renewed for {} s",
                   repository_.store().location(), lease_.count())
      .Retryable();
}

// By this process's own clock, without a request.
Status ClusterLock::RequireLease() {
  if (IsInLease()) {
    return Ok();
  }
  std::string reason;
  {
    const std::lock_guard lock(mutex_);
    if (lost_) {
      return *lost_;
    }
    reason = fmt::format("it was not renewed for {} s{}{}", lease_.count(),
                         last_trouble_.empty() ? "" : ": ", last_trouble_);
  }
  return regain_ ? Lapsed() : Lose(std::move(reason));
}

std::uint64_t ClusterLock::epoch() const {
  const std::lock_guard lock(mutex_);
  return epoch_;
}

LockDocument ClusterLock::document() const {
  const std::lock_guard lock(mutex_);
  return document_;
}

SlotRecords ClusterLock::slots() const {
  return document().slots;
}

Status ClusterLock::RequireHeld() {
  constexpr int kAttempts = 3;
  for (int attempt = 1;; ++attempt) {
    {
      const std::lock_guard write_lock(write_mutex_);
      RETURN_IF_ERROR(HoldAgain());
    }
    ASSIGN_OR_RETURN(const std::optional<LockObject> highest, FindHighest(repository_));
    const std::uint64_t newest = highest ? highest->epoch : 0;
    const std::uint64_t ours = epoch();
    if (newest < ours) {
      return Lose("somebody has deleted it");
    }
    if (newest > ours) {
      return Lose("another node has taken it over");
    }
    // The request itself may have taken longer than a lease.
    Status held = RequireLease();
    if (held || !regain_ || attempt == kAttempts) {
      return held;
    }
  }
}

Status ClusterLock::SetSlot(const std::string& schedule, SlotRecord record) {
  record.node = repository_.options().node;
  ASSIGN_OR_RETURN(record.updated, ReadPlanningTime(repository_));
  {
    const std::lock_guard write_lock(write_mutex_);
    RETURN_IF_ERROR(Write([&](LockDocument& changed) { changed.slots[schedule] = record; }));
  }
  return RequireHeld();
}

Status ClusterLock::SetNeededWal(const std::string& object) {
  const std::lock_guard write_lock(write_mutex_);
  return Write([&](LockDocument& changed) { changed.needs_wal = object; });
}

Status ClusterLock::Release() {
  stop_.Cancel();
  renewer_.Join();
  const std::lock_guard write_lock(write_mutex_);
  if (!document().held || !IsInLease()) {
    return Ok();
  }
  const Status written = WriteOnce([](LockDocument& released) {
    released.held = false;
    released.needs_wal.clear();
  });
  // If the lock was lost meanwhile, there is nothing to release.
  return written || IsInLease() ? written : Ok();
}

Status ClusterLock::ReleaseWithin(std::chrono::milliseconds patience) {
  const Environment& environment = repository_.environment();
  const bool was_cancelled = environment.cancellation->cancelled();
  environment.cancellation->Reset();
  Cancellation released_in_time;
  ThreadGroup watchdog;
  RETURN_IF_ERROR(watchdog.Start([&] {
    if (environment.clock->Sleep(patience, &released_in_time)) {
      environment.cancellation->Cancel();
    }
  }));
  Status released = CatchExceptions([this] { return Release(); });
  released_in_time.Cancel();
  watchdog.Join();
  if (was_cancelled) {
    environment.cancellation->Cancel();
  }
  return released;
}

}  // namespace veza
