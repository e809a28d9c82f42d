#include "core/repository/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/limits.h"
#include "core/repository/entrance.h"
#include "core/repository/format_mark.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"
#include "core/repository/passphrase_command.h"

namespace veza {

namespace {

Error NotInitialised(const Store& store) {
  return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" is not initialized",
                   store.location())
      .WithHint(
          "Run SELECT veza_backup_init() on the primary, or check veza_backup.repository and "
          "veza_backup.cluster.");
}

Error OtherSystem(const Store& store, const Identity& owner, std::uint64_t system_identifier) {
  return MakeError(ErrorCode::kConflict,
                   "repository \"{}\" belongs to the cluster with system identifier {} "
                   "(initialized by {} at {}), not to {}",
                   store.location(), owner.system_identifier, owner.node, FormatUtc(owner.created),
                   system_identifier)
      .WithHint(
          "Set another veza_backup.cluster for this cluster. If this cluster has replaced the "
          "other one (after pg_upgrade or a new initdb), run SELECT "
          "veza_backup_init(accept_new_system => true).");
}

// Anybody who can write to the store can write an identity without a key. If there are keys, the
// repository was not created with that identity. To follow it would end the encryption, whatever
// the cipher setting says.
Status RequireNoKeys(Store& store) {
  ASSIGN_OR_RETURN(const FirstObjects keys, ListFirst(store, kKeyPrefix, 1));
  if (keys.objects.empty()) {
    return Ok();
  }
  return MakeError(ErrorCode::kPermissionDenied,
                   "repository \"{}\" has no identity that names a key, but it holds object \"{}\"",
                   store.location(), keys.objects.front().name)
      .WithHint(
          "Somebody may have forged the identity to end the encryption. Do not turn encryption "
          "off. Set veza_backup.cipher and the passphrase as they were, and run \"vezactl key "
          "restore\". A server that had the repository open puts its identity back automatically. "
          "Only if you are sure that nothing was ever encrypted there, move the objects below "
          "\"key/\" elsewhere.");
}

Error LostOwnIdentity(const Store& store, std::uint64_t system_identifier) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" holds WAL of this cluster, but no identity {}",
                   store.location(), system_identifier)
      .WithHint(
          "The identity was lost, or somebody has replaced it with that of another cluster. With "
          "the other cluster's key, the stored WAL could no longer be read. If the other identity "
          "is wrong, keep a copy of it, delete it, and run \"vezactl key restore\". Otherwise set "
          "another veza_backup.cluster for this cluster.");
}

// Writes the identity unless it exists. Returns whether it was written.
Result<bool> CreateIdentity(Store& store, const Identity& identity, const SealPolicy& policy) {
  const std::string name = IdentityName(identity.system_identifier);
  ASSIGN_OR_RETURN(const std::string text, SerializeIdentity(identity, policy));
  const Status put = PutSmall(store, name, AsBytes(text), PutMode::kCreate);
  if (!put && put.error().code == ErrorCode::kAlreadyExists) {
    return false;
  }
  RETURN_IF_ERROR(put);
  return true;
}

}  // namespace

Repository::Repository(std::shared_ptr<Store> store, RepositoryOptions options,
                       Environment environment)
    : store_(std::move(store)),
      options_(std::move(options)),
      environment_(std::move(environment)),
      seal_policy_{options_.cipher, nullptr} {}

Status Repository::OpenKey() {
  const bool encrypted = !identities_.front().key_id.empty();
  for (const Identity& identity : identities_) {
    if (identity.key_id != identities_.front().key_id) {
      return MakeError(ErrorCode::kConflict,
                       "identities {} and {} of repository \"{}\" name different keys",
                       identities_.front().system_identifier, identity.system_identifier,
                       store_->location())
          .WithHint("Two clusters were initialized under one name. Delete the wrong identity.");
    }
  }
  if (encrypted && options_.cipher == Cipher::kNone) {
    return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" is encrypted",
                     store_->location())
        .WithHint(
            "Set veza_backup.cipher and veza_backup.cipher_passphrase (or "
            "veza_backup.cipher_passphrase_file or veza_backup.cipher_passphrase_command).");
  }
  if (!encrypted) {
    RETURN_IF_ERROR(RequireNoKeys(*store_));
  }
  if (!encrypted && options_.cipher != Cipher::kNone) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "repository \"{}\" was initialized without encryption, but encryption is "
                     "configured",
                     store_->location())
        .WithHint(
            "Use another veza_backup.repository or veza_backup.cluster, or set veza_backup.cipher "
            "to none.");
  }
  if (encrypted) {
    ASSIGN_OR_RETURN(OpenedKey opened, FindOwnKey());
    seal_policy_.key = std::make_shared<const DataKey>(std::move(opened.key));
    key_wraps_ = {std::move(opened.wrap)};
  }
  return Ok();
}

Result<OpenedKey> Repository::FindOwnKey() {
  const std::string& key_id = identities_.front().key_id;
  RETURN_IF_ERROR(TellPassphrase(options_, environment_));
  Result<OpenedKey> opened = FindKey(*store_, key_id, options_, *environment_.cancellation);
  if (opened || opened.error().code != ErrorCode::kWrongKey) {
    return opened;
  }
  ASSIGN_OR_RETURN(const bool is_another, TellOtherPassphrase(options_, environment_));
  return is_another ? FindKey(*store_, key_id, options_, *environment_.cancellation)
                    : std::move(opened);
}

Result<std::unique_ptr<Repository>> Repository::Open(std::shared_ptr<Store> store,
                                                     RepositoryOptions options,
                                                     Environment environment) {
  std::unique_ptr<Repository> repository(
      new Repository(std::move(store), std::move(options), std::move(environment)));
  ASSIGN_OR_RETURN(
      repository->identity_objects_,
      ReadIdentities(*repository->store_, repository->options_.cipher != Cipher::kNone));
  ASSIGN_OR_RETURN(repository->identities_,
                   ParseUnverifiedIdentities(repository->identity_objects_));
  if (repository->identities_.empty()) {
    return NotInitialised(*repository->store_);
  }
  RETURN_IF_ERROR(repository->OpenKey());
  repository->identities_.clear();
  for (const NamedText& object : repository->identity_objects_) {
    ASSIGN_OR_RETURN(Identity identity, ParseIdentity(object, repository->seal_policy_));
    repository->identities_.push_back(std::move(identity));
  }
  if (repository->options_.for_writing) {
    ASSIGN_OR_RETURN(const FormatMark mark,
                     ReadFormatMark(*repository->store_, repository->seal_policy_));
    repository->digest_method_ =
        mark.state == FormatMark::State::kPresent ? DigestMethod::kGmac : DigestMethod::kSha256;
  }
  return repository;
}

Result<std::unique_ptr<Repository>> Repository::Initialise(std::shared_ptr<Store> store,
                                                           RepositoryOptions options,
                                                           Environment environment,
                                                           const Identity& identity,
                                                           bool accept_new_system) {
  RETURN_IF_ERROR(TellPassphraseOfNow(options, environment));
  ASSIGN_OR_RETURN(const std::vector<NamedText> objects,
                   ReadIdentities(*store, options.cipher != Cipher::kNone));
  ASSIGN_OR_RETURN(const std::vector<Identity> present, ParseUnverifiedIdentities(objects));
  const bool is_ours = std::any_of(present.begin(), present.end(), [&](const Identity& other) {
    return other.system_identifier == identity.system_identifier;
  });
  if (!is_ours && !present.empty()) {
    // A new system has not stored WAL yet.
    ASSIGN_OR_RETURN(const bool has_wal,
                     HoldsObject(*store, WalSystemPrefix(identity.system_identifier)));
    if (has_wal) {
      return LostOwnIdentity(*store, identity.system_identifier);
    }
    if (!accept_new_system) {
      return OtherSystem(*store, present.back(), identity.system_identifier);
    }
  }
  Identity ours = identity;
  ours.cipher = CipherName(options.cipher);
  ours.node = options.node;
  ours.created = environment.clock->Now();

  if (present.empty() && options.cipher == Cipher::kNone) {
    RETURN_IF_ERROR(RequireNoKeys(*store));
  }
  if (present.empty()) {
    // A wrap that exists already is not used. The process that wrote it may be about to lose the
    // race for the identity, and will then delete its wrap.
    SealPolicy policy{options.cipher, nullptr};
    std::string wrap_name;
    if (options.cipher != Cipher::kNone) {
      policy.key = std::make_shared<const DataKey>(DataKey::Generate(*environment.random));
      ours.key_id = policy.key->hex_id();
      std::array<std::uint8_t, 8> wrap_id;
      environment.random->Fill(wrap_id);
      wrap_name = KeyWrapName(ours.key_id, ToHex(wrap_id));
      ASSIGN_OR_RETURN(const std::string wrap,
                       MakeSignedWrap(*policy.key, options.passphrase.text(), "", options.node,
                                      ours.created, *environment.random));
      RETURN_IF_ERROR(PutSmall(*store, wrap_name, AsBytes(wrap), PutMode::kCreate));
    }
    ASSIGN_OR_RETURN(const bool created, CreateIdentity(*store, ours, policy));
    if (!created && !wrap_name.empty()) {
      // Another process of this cluster was faster. Its key is the one that counts.
      RETURN_IF_ERROR(store->Delete(wrap_name));
    }
    if (created && policy.encrypts()) {
      // Behind the identity: whatever is there without an identity has lost it.
      const Status marked = CreateFormatMark(*store, policy, ours.node, ours.created);
      if (!marked) {
        return Error(marked.error())
            .WithHint(
                "The repository is there and can be used, in version 1 of its format. Run "
                "\"vezactl repository upgrade\" when the store works again.");
      }
    }
  } else if (!is_ours) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> existing, Open(store, options, environment));
    ours.key_id = existing->identities_.front().key_id;
    ASSIGN_OR_RETURN([[maybe_unused]] const bool created,
                     CreateIdentity(*store, ours, existing->seal_policy_));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Repository> repository,
                   Open(std::move(store), std::move(options), std::move(environment)));
  RETURN_IF_ERROR(repository->RequireSystem(identity.system_identifier));
  return repository;
}

Status Repository::RequireSystem(std::uint64_t system_identifier) const {
  for (const Identity& identity : identities_) {
    if (identity.system_identifier == system_identifier) {
      return Ok();
    }
  }
  return OtherSystem(*store_, identities_.back(), system_identifier);
}

Result<Identity> Repository::IdentityOf(std::optional<std::uint64_t> system_identifier) const {
  if (system_identifier) {
    RETURN_IF_ERROR(RequireSystem(*system_identifier));
    return *std::find_if(identities_.begin(), identities_.end(), [&](const Identity& identity) {
      return identity.system_identifier == *system_identifier;
    });
  }
  if (identities_.size() == 1) {
    return identities_.front();
  }
  std::string choices;
  for (const Identity& identity : identities_) {
    choices += fmt::format("{}{} (PostgreSQL {}, since {})", choices.empty() ? "" : ", ",
                           identity.system_identifier, identity.postgres_version_num / 10000,
                           FormatUtc(identity.created));
  }
  return MakeError(ErrorCode::kInvalidArgument, "repository \"{}\" holds {} systems",
                   store_->location(), identities_.size())
      .WithHint(fmt::format("Name one with --system-id: {}.", choices));
}

}  // namespace veza
