#include "core/storage/conditional_writes.h"

#include <array>
#include <utility>

#include "core/storage/forwarding_store.h"

namespace veza {

namespace {

constexpr const char* kHowToGoOn =
    "Two servers with the same name could overwrite each other's WAL there. Use a store that "
    "supports conditional writes: AWS S3, MinIO since May 2024, or Ceph in a bucket without "
    "versioning. If there is none, set veza_backup.s3_conditional_writes = 'look' to look before "
    "each write. This costs one more request for each object, and two servers that write at the "
    "same moment still overwrite each other.";

Error Overwrites(const Store& store) {
  return MakeError(ErrorCode::kUnsupported,
                   "the store of repository \"{}\" overwrote an object although If-None-Match was "
                   "sent",
                   store.location())
      .WithHint(kHowToGoOn);
}

Error RefusesCondition(const Store& store, const Error& answer) {
  return MakeError(ErrorCode::kUnsupported,
                   "the store of repository \"{}\" does not support conditional writes "
                   "(If-None-Match): {}",
                   store.location(), answer.message)
      .WithHint(kHowToGoOn);
}

Error AlwaysRefuses(const Store& store) {
  return MakeError(ErrorCode::kUnsupported,
                   "the store of repository \"{}\" does not support conditional writes "
                   "(If-None-Match): it answers 412 although the object does not exist",
                   store.location())
      .WithHint(kHowToGoOn);
}

// True when the store may have refused the request because of the condition.
bool MayBeOfCondition(const Error& error) {
  return !error.retryable && error.code != ErrorCode::kNoSpace &&
         error.code != ErrorCode::kCredentials && error.code != ErrorCode::kCancelled;
}

// Reads one byte to see whether the object exists. HEAD would need a second request, because S3's
// response to it does not say why there is no object.
Result<bool> Exists(Store& store, std::string_view name) {
  const Status got = store.Get(name, {0, 1}, [](ByteView) { return Ok(); });
  if (!got && got.error().code == ErrorCode::kNotFound) {
    return false;
  }
  // An empty object has no first byte. A store that was full may leave such objects.
  if (!got && got.error().code != ErrorCode::kInvalidArgument) {
    return got.error();
  }
  return true;
}

class ProvenStore final : public ForwardingStore {
 public:
  ProvenStore(std::unique_ptr<Store> inner, Environment environment, std::string probe,
              std::string place, std::shared_ptr<ConditionalWriteProofs> proofs)
      : ForwardingStore(std::move(inner)),
        environment_(std::move(environment)),
        probe_(std::move(probe)),
        place_(std::move(place)),
        proofs_(std::move(proofs)) {}

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    if (mode == PutMode::kCreate) {
      RETURN_IF_ERROR(RequireProof());
    }
    return inner().Put(name, body, mode);
  }

 private:
  Status RequireProof() {
    if (proofs_->Holds(place_, environment_.clock->Steady())) {
      return Ok();
    }
    // Only one trial runs at a time. Other writers wait for it.
    const std::lock_guard lock(trial_);
    if (proofs_->Holds(place_, environment_.clock->Steady())) {
      return Ok();
    }
    RETURN_IF_ERROR(Prove());
    proofs_->Note(place_, environment_.clock->Steady());
    return Ok();
  }

  // A failed trial is not remembered, so that archiving resumes by itself when the store was
  // repaired.
  Status Prove() {
    ASSIGN_OR_RETURN(const bool was_there, IsRefused());
    if (was_there) {
      return RequireProbe();
    }
    ASSIGN_OR_RETURN(const bool refused, IsRefused());
    if (!refused) {
      return Overwrites(inner());
    }
    return Ok();
  }

  // Some stores refuse every condition with the response that stands for "exists".
  Status RequireProbe() {
    ASSIGN_OR_RETURN(const bool exists, Exists(inner(), probe_));
    return exists ? Ok() : Status(AlwaysRefuses(inner()));
  }

  // Puts the probe on the condition that it does not exist. Returns whether the store refused
  // because it exists. The content is new each time, so that a write of ours whose response was
  // lost is not mistaken for a refusal.
  Result<bool> IsRefused() {
    std::array<std::uint8_t, 16> random{};
    environment_.random->Fill(random);
    const std::string content = "veza_backup probe " + ToHex(random);
    const Status put = PutSmall(inner(), probe_, AsBytes(content), PutMode::kCreate);
    if (put) {
      return false;
    }
    if (put.error().code == ErrorCode::kAlreadyExists) {
      return true;
    }
    // If the same write succeeds without the condition, the store refused the condition.
    if (MayBeOfCondition(put.error()) &&
        PutSmall(inner(), probe_, AsBytes(content), PutMode::kReplace)) {
      return RefusesCondition(inner(), put.error());
    }
    return put.error();
  }

  Environment environment_;
  std::string probe_;
  std::string place_;
  std::shared_ptr<ConditionalWriteProofs> proofs_;
  std::mutex trial_;
};

class LookingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    if (mode == PutMode::kCreate) {
      ASSIGN_OR_RETURN(const bool exists, Exists(inner(), name));
      if (exists) {
        return MakeError(ErrorCode::kAlreadyExists, "object \"{}/{}\" already exists", location(),
                         name);
      }
    }
    return inner().Put(name, body, PutMode::kReplace);
  }
};

}  // namespace

bool ConditionalWriteProofs::Holds(const std::string& place, SteadyTime now) const {
  const std::lock_guard lock(mutex_);
  const auto proven = proven_.find(place);
  return proven != proven_.end() && now - proven->second < kProofLasts;
}

void ConditionalWriteProofs::Note(const std::string& place, SteadyTime now) {
  const std::lock_guard lock(mutex_);
  proven_[place] = now;
}

std::unique_ptr<Store> MakeProvenStore(std::unique_ptr<Store> inner, Environment environment,
                                       std::string probe, std::string place,
                                       std::shared_ptr<ConditionalWriteProofs> proofs) {
  return std::make_unique<ProvenStore>(std::move(inner), std::move(environment), std::move(probe),
                                       std::move(place), std::move(proofs));
}

std::unique_ptr<Store> MakeLookingStore(std::unique_ptr<Store> inner) {
  return std::make_unique<LookingStore>(std::move(inner));
}

}  // namespace veza
