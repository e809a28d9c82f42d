#include "core/repository/restore_lease.h"

#include <array>
#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/process_identity.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr int kRenewalsPerLease = 5;

TimePoint ExpiryOf(TimePoint renewed, std::chrono::seconds lease) {
  return renewed + lease + kStoreTimePrecision;
}

// A time far in the future comes from a wrong clock, and must not keep a lease alive for ever. A
// living process renews its lease, which gives it a correct time.
bool IsAlive(TimePoint renewed, std::chrono::seconds lease, TimePoint now) {
  return now <= ExpiryOf(renewed, lease) && renewed - now <= kLongestLease;
}

// nullopt when the object has vanished. An object that was not renewed for the longest lease has
// lapsed, whatever it says, and is not read. So even an object that the store cannot read lapses.
Result<std::optional<LeaseState>> ReadLease(const Repository& repository, const ObjectInfo& object,
                                            TimePoint now) {
  LeaseState state;
  state.name = object.name;
  state.label = *ParseLeaseName(object.name);
  state.renewed = object.modified;
  state.expires = ExpiryOf(object.modified, kLongestLease);
  if (!IsAlive(object.modified, kLongestLease, now)) {
    return std::optional(std::move(state));
  }
  Result<LeaseDocument> document = [&]() -> Result<LeaseDocument> {
    ASSIGN_OR_RETURN(const Bytes text, GetListed(repository.store(), object, limits::kLease));
    return ParseLease(AsText(text), object.name, repository.seal_policy());
  }();
  if (document) {
    state.document = std::move(*document);
  } else if (document.error().code == ErrorCode::kNotFound) {
    return std::optional<LeaseState>();
  } else if (!IsUnreadable(document.error())) {
    return document.error();
  }
  const std::chrono::seconds lease = state.document ? state.document->lease : kLongestLease;
  state.expires = ExpiryOf(object.modified, lease);
  state.alive = IsAlive(object.modified, lease, now);
  return std::optional(std::move(state));
}

Error TooManyLeases(const Store& store) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "repository \"{}\" holds more than {} leases below \"{}\" that have not lapsed",
                   store.location(), limits::kLeases, kLeasePrefix)
      .WithHint(
          "Each lease keeps a backup and its WAL for at most a day after it was written. Find out "
          "who wrote them, and remove those that belong to no restore or drill of yours.");
}

}  // namespace

Result<std::string> SerializeLease(const LeaseDocument& lease, const std::string& name,
                                   const SealPolicy& policy) {
  return SignDocument({{"format", 1},
                       {"label", lease.label},
                       {"system_identifier", std::to_string(lease.system_identifier)},
                       {"start_lsn", FormatLsn(lease.start_lsn)},
                       {"start_wal", lease.start_wal},
                       {"node", ValidUtf8(lease.node)},
                       {"process", lease.process},
                       {"purpose", ValidUtf8(lease.purpose)},
                       {"created", FormatUtc(lease.created)},
                       {"lease_seconds", lease.lease.count()}},
                      policy, name);
}

Result<LeaseDocument> ParseLease(std::string_view text, const std::string& name,
                                 const SealPolicy& policy) {
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  JsonFields fields(document, name);
  LeaseDocument lease;
  std::string start_lsn;
  fields.Read("label", lease.label);
  ReadSystemIdentifier(fields, lease.system_identifier);
  fields.Read("start_lsn", start_lsn);
  fields.Read("start_wal", lease.start_wal);
  fields.Read("node", lease.node);
  fields.Read("process", lease.process);
  fields.Read("purpose", lease.purpose);
  fields.Read("created", lease.created);
  ReadLeaseSeconds(fields, lease.lease);
  if (const Result<Lsn> lsn = ParseLsn(start_lsn)) {
    lease.start_lsn = *lsn;
  } else {
    fields.Fail("member \"start_lsn\" is not an LSN");
  }
  if (lease.label != ParseLeaseName(name)) {
    fields.Fail("does not belong to the backup that its name says");
  }
  RETURN_IF_ERROR(fields.status());
  return lease;
}

std::string LeaseState::Holder() const {
  const auto until = FormatUtc(std::chrono::floor<std::chrono::seconds>(expires));
  return document
             ? fmt::format("a {} on node \"{}\" until {}", document->purpose, document->node, until)
             : fmt::format("somebody whose lease cannot be read, until {}", until);
}

Result<std::vector<LeaseState>> ReadLeases(const Repository& repository, std::string_view prefix,
                                           const std::set<std::string>& known) {
  Store& store = repository.store();
  // The time is taken before the listing, so that in doubt a lease counts as alive.
  ASSIGN_OR_RETURN(const TimePoint now, store.Now());
  std::vector<ObjectInfo> objects;
  std::size_t in_force = 0;
  std::size_t lapsed = 0;
  RETURN_IF_ERROR(store.List(prefix, "", [&](const ObjectInfo& object) -> Status {
    if (!ParseLeaseName(object.name) || known.contains(object.name)) {
      return Ok();
    }
    if (!IsAlive(object.modified, kLongestLease, now)) {
      if (lapsed < limits::kLapsedLeases) {
        ++lapsed;
        objects.push_back(object);
      }
      return Ok();
    }
    if (++in_force > limits::kLeases) {
      return TooManyLeases(store);
    }
    objects.push_back(object);
    return Ok();
  }));
  std::vector<LeaseState> leases;
  for (const ObjectInfo& object : objects) {
    ASSIGN_OR_RETURN(std::optional<LeaseState> lease, ReadLease(repository, object, now));
    if (lease) {
      leases.push_back(std::move(*lease));
    }
  }
  return leases;
}

Result<std::optional<LeaseState>> ReadLeaseNamed(const Repository& repository,
                                                 const std::string& name) {
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> object, HeadIfThere(repository.store(), name));
  return object ? ReadLease(repository, *object, now) : std::optional<LeaseState>();
}

Result<std::vector<LeaseState>> ReadLeasesOn(const Repository& repository,
                                             const std::string& label) {
  return ReadLeases(repository, std::string(kLeasePrefix) + label);
}

const LeaseState* FindLease(const std::vector<LeaseState>& leases, const std::string& label) {
  for (const LeaseState& lease : leases) {
    if (lease.alive && (lease.label == label || ParseLabel(lease.label)->full_label == label)) {
      return &lease;
    }
  }
  return nullptr;
}

Result<std::unique_ptr<RestoreLease>> RestoreLease::Take(const Repository& repository,
                                                         const BackupSummary& backup,
                                                         const std::string& purpose) {
  std::array<std::uint8_t, 8> id;
  repository.environment().random->Fill(id);
  LeaseDocument document{.label = backup.label,
                         .system_identifier = backup.system_identifier,
                         .start_lsn = backup.start_lsn,
                         .start_wal = backup.start_wal,
                         .node = repository.options().node,
                         .process = IdentifyThisProcess(),
                         .purpose = purpose,
                         .created = repository.environment().clock->Now(),
                         .lease = kCopyLease};
  std::unique_ptr<RestoreLease> lease(
      new RestoreLease(repository, LeaseName(backup.label, ToHex(id)), std::move(document)));
  RETURN_IF_ERROR(lease->Write(lease->document_));
  RETURN_IF_ERROR(lease->renewer_.Start([self = lease.get()] { self->RenewUntilStopped(); }));
  return lease;
}

RestoreLease::RestoreLease(const Repository& repository, std::string name, LeaseDocument document)
    : repository_(repository), name_(std::move(name)), document_(std::move(document)) {}

RestoreLease::~RestoreLease() {
  Stop();
}

void RestoreLease::Stop() {
  stop_.Cancel();
  renewer_.Join();
}

Status RestoreLease::Write(const LeaseDocument& document) const {
  ASSIGN_OR_RETURN(const std::string text,
                   SerializeLease(document, name_, repository_.seal_policy()));
  return PutSmall(repository_.store(), name_, AsBytes(text), PutMode::kReplace);
}

// If a renewal fails, the next one makes up for it. That holds even if the lease has lapsed
// meanwhile and was removed: the new one protects what is left.
void RestoreLease::RenewUntilStopped() {
  const auto pause = std::chrono::milliseconds(kCopyLease) / kRenewalsPerLease;
  while (repository_.environment().clock->Sleep(pause, &stop_)) {
    [[maybe_unused]] const Status renewed = CatchExceptions([this] {
      const std::lock_guard lock(mutex_);
      return Write(document_);
    });
  }
}

Status RestoreLease::KeepFor(std::chrono::seconds time) {
  {
    const std::lock_guard lock(mutex_);
    LeaseDocument longer = document_;
    longer.lease = time;
    RETURN_IF_ERROR(Write(longer));
    document_ = std::move(longer);
  }
  Stop();
  return Ok();
}

Status RestoreLease::End() {
  Stop();
  return repository_.store().Delete(name_);
}

Status RenewLease(const Repository& repository, const std::string& name) {
  if (!ParseLeaseName(name)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a lease", name);
  }
  const Result<Bytes> text = GetSmall(repository.store(), name, limits::kLease);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return Ok();
  }
  RETURN_IF_ERROR(text);
  RETURN_IF_ERROR(ParseLease(AsText(*text), name, repository.seal_policy()));
  return PutSmall(repository.store(), name, *text, PutMode::kReplace);
}

}  // namespace veza
