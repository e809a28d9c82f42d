#include "core/repository/key_restore.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/codec/key.h"
#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/entrance.h"
#include "core/repository/key_evidence.h"
#include "core/repository/key_search.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"
#include "core/repository/passphrase_command.h"
#include "core/repository/tombstone.h"

namespace veza {

namespace {

// The part of a backup that is needed. Keeping every backup.json would take too much memory.
struct FittingBackup {
  std::string label;
  Identity identity;  // of its system, as far as the backup tells it
};

struct FoundIdentity {
  Identity identity;
  NamedText object;
};

// A key that the passphrase opens, and everything that it fits, that is, has authenticated.
struct FoundKey {
  std::shared_ptr<const DataKey> key;
  FoundWrap wrap;  // the first wrap that holds the key
  std::vector<std::uint64_t> identities;
  std::vector<FittingBackup> backups;
  std::size_t wal_files = 0;  // of those that were tested

  bool fits() const { return !identities.empty() || !backups.empty() || wal_files > 0; }
};

// What will be written, in this order. Everything is read and decided before the first write. So a
// dry run reports what a real run does, and only a crash can leave the work half done. The next run
// then finds the first object in place.
struct PlannedWrap {
  NamedText wrap;  // without a name if it gets a new one
  std::string source;
};
struct PlannedIdentity {
  Identity identity;
  std::optional<NamedText> replaced;  // the invalid object in its place
};
struct Plan {
  std::optional<PlannedWrap> wrap;
  std::vector<PlannedIdentity> identities;
};

class KeyRestorer {
 public:
  KeyRestorer(std::shared_ptr<Store> store, const RepositoryOptions& options,
              const Environment& environment, const KeyRestoreRequest& request)
      : store_(std::move(store)), options_(options), environment_(environment), request_(request) {}

  Result<KeyRestoreReport> Run() {
    ASSIGN_OR_RETURN(labels_, ListBackupLabels(*store_));
    RETURN_IF_ERROR(ReadIdentities());
    if (options_.cipher == Cipher::kNone) {
      keys_[""] = {};
    } else {
      RETURN_IF_ERROR(FindKeys());
    }
    RETURN_IF_ERROR(VerifyIdentities());
    RETURN_IF_ERROR(FitBackups());
    RETURN_IF_ERROR(FitWal());
    ASSIGN_OR_RETURN(const FoundKey* const chosen, Choose());
    policy_ = {options_.cipher, chosen->key};
    report_.key_id = KeyId(*chosen);
    if (request_.wrap) {
      report_.given_fits = chosen->key && chosen->wrap.wrap.name.empty();
    }
    ASSIGN_OR_RETURN(Plan plan, MakePlan(*chosen));
    RETURN_IF_ERROR(request_.dry_run ? Describe(plan) : CarryOut(plan));
    DescribeFit(*chosen);
    return std::move(report_);
  }

 private:
  static std::string KeyId(const FoundKey& found) { return found.key ? found.key->hex_id() : ""; }

  // Reads the identities without verifying them.
  Status ReadIdentities() {
    ASSIGN_OR_RETURN(std::vector<NamedText> objects, ReadDamagedIdentities(*store_));
    const bool wants_key = options_.cipher != Cipher::kNone;
    std::optional<bool> holds_keys;  // asked once, because it may read every backup.json
    if (!wants_key) {
      ASSIGN_OR_RETURN(holds_keys, HoldsKeys());
      if (*holds_keys) {
        return OtherCipher(true);
      }
    }
    for (NamedText& object : objects) {
      Result<Identity> identity = ParseUnverifiedIdentity(object);
      if (!identity && identity.error().code != ErrorCode::kDataCorrupted) {
        return identity.error();
      }
      if (!identity) {
        damaged_.push_back(std::move(object));
        continue;
      }
      if (identity->key_id.empty() == !wants_key) {
        unknown_.push_back({std::move(*identity), std::move(object)});
        continue;
      }
      if (!holds_keys) {
        ASSIGN_OR_RETURN(holds_keys, HoldsKeys());
      }
      if (!wants_key || !(*holds_keys || request_.wrap || request_.key_id)) {
        return OtherCipher(!wants_key);
      }
      // Anybody can write an identity that names no key (RequireNoKeys in repository.cpp).
      damaged_.push_back(std::move(object));
    }
    return Ok();
  }

  Error OtherCipher(bool is_encrypted) const {
    return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" is {}encrypted",
                     store_->location(), is_encrypted ? "" : "not ")
        .WithHint(
            "Set veza_backup.cipher and the passphrase as they were when the repository was "
            "created.");
  }

  // Whether the repository holds keys, or did when its backups were made.
  Result<bool> HoldsKeys() {
    ASSIGN_OR_RETURN(bool holds, HoldsObject(*store_, kKeyPrefix));
    for (auto label = labels_.rbegin(); !holds && label != labels_.rend(); ++label) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(*store_, *label));
      holds = !UnverifiedKeyWraps(text.value_or("")).empty();
    }
    return holds;
  }

  // Verifies each identity by the key that it names. If that key was not found, the identity stays
  // unknown.
  Status VerifyIdentities() {
    for (FoundIdentity& found : std::exchange(unknown_, {})) {
      const auto key = keys_.find(found.identity.key_id);
      if (key == keys_.end()) {
        unknown_.push_back(std::move(found));
        continue;
      }
      const Result<Identity> verified =
          ParseIdentity(found.object, {options_.cipher, key->second.key});
      if (verified) {
        key->second.identities.push_back(verified->system_identifier);
      } else if (IsDamagedDocument(verified.error())) {
        damaged_.push_back(std::move(found.object));
      } else {
        return verified.error();
      }
    }
    return Ok();
  }

  Status FindKeys() {
    ASSIGN_OR_RETURN(KeysOfWraps opened, SearchKeys(*store_, options_, environment_,
                                                    {request_.wrap, PreferredKeys(), labels_}));
    passed_over_ = opened.passed_over;
    for (auto& [key_id, found] : opened.keys) {
      FoundKey& kept = keys_[key_id];
      kept.key = std::move(found.key);
      kept.wrap = std::move(found.wrap);
    }
    return Ok();
  }

  // The key that is asked for, or else the keys that identities name.
  std::set<std::string> PreferredKeys() const {
    if (request_.key_id) {
      return {*request_.key_id};
    }
    std::set<std::string> preferred;
    for (const FoundIdentity& found : unknown_) {
      if (preferred.size() < kPreferredKeys) {
        preferred.insert(found.identity.key_id);
      }
    }
    return preferred;
  }

  Status FitBackups() {
    for (const std::string& label : labels_) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(*store_, label));
      if (text && !Fit(label, *text) && !IsBuried(label, *text)) {
        report_.unfitting.push_back(label);
      }
    }
    return Ok();
  }

  // Assigns the backup to the key that has signed it. Returns whether there is one.
  bool Fit(const std::string& label, const std::string& text) {
    for (auto& [key_id, found] : keys_) {
      const Result<BackupSummary> summary = ParseSummary(text, label, {options_.cipher, found.key});
      if (summary) {
        Identity identity;
        identity.system_identifier = summary->system_identifier;
        identity.postgres_version_num = summary->postgres_version_num;
        identity.wal_segment_size = summary->wal_segment_size;
        identity.block_size = summary->block_size;
        found.backups.push_back({label, std::move(identity)});
        return true;
      }
    }
    return false;
  }

  bool IsBuried(const std::string& label, const std::string& text) const {
    return std::ranges::any_of(keys_, [&](const auto& found) {
      return IsTombstone(text, label, {options_.cipher, found.second.key});
    });
  }

  // Tests the WAL of every system that is known to have used this repository.
  Status FitWal() {
    std::set<std::uint64_t> systems;
    std::map<std::string, SealPolicy> policies;
    if (request_.server) {
      systems.insert(request_.server->system_identifier);
    }
    for (const auto& [key_id, found] : keys_) {
      systems.insert(found.identities.begin(), found.identities.end());
      for (const FittingBackup& backup : found.backups) {
        systems.insert(backup.identity.system_identifier);
      }
      policies[key_id] = {options_.cipher, found.key};
    }
    for (const std::uint64_t system : systems) {
      ASSIGN_OR_RETURN(wal_[system],
                       LookAtWal(*store_, system, policies, *environment_.cancellation));
      for (const auto& [key_id, names] : wal_[system].opened) {
        keys_[key_id].wal_files += names.size();
      }
    }
    return Ok();
  }

  // The requested key is chosen, but never against an identity that another key has signed.
  // Otherwise it is the key of a verified identity, or else the only key that fits. If several are
  // possible, the user has to choose.
  Result<const FoundKey*> Choose() const {
    if (request_.key_id) {
      return ChooseAsAsked(*request_.key_id);
    }
    std::vector<const FoundKey*> named;
    std::vector<const FoundKey*> fitting;
    for (const auto& [key_id, found] : keys_) {
      if (!found.identities.empty()) {
        named.push_back(&found);
      }
      if (found.fits()) {
        fitting.push_back(&found);
      }
    }
    if (!unknown_.empty()) {
      return fitting.empty() ? NoCopy(InWords(unknown_.front())) : UnknownIdentity();
    }
    if (named.size() == 1) {
      const bool fits_more = !named.front()->backups.empty() || named.front()->wal_files > 0;
      return fits_more || fitting.size() == 1 ? Result<const FoundKey*>(named.front())
                                              : IdentityOfOthers(*named.front());
    }
    if (fitting.size() == 1) {
      return fitting.front();
    }
    if (fitting.size() > 1) {
      return MakeError(ErrorCode::kConflict, "repository \"{}\" holds data of {} different keys",
                       store_->location(), fitting.size())
          .WithHint(fmt::format("Choose one with --key-id: {}.", Choices()));
    }
    return keys_.empty() ? NoCopy("") : NothingTells();
  }

  Result<const FoundKey*> ChooseAsAsked(const std::string& key_id) const {
    const auto found = keys_.find(key_id);
    if (found == keys_.end()) {
      return NoCopy(fmt::format("of {} ", KeyInWords(key_id)));
    }
    for (const auto& [other_id, other] : keys_) {
      if (other_id != key_id && !other.identities.empty()) {
        return MakeError(ErrorCode::kConflict, "identity {} of repository \"{}\" names {}, not {}",
                         other.identities.front(), store_->location(), KeyInWords(other_id),
                         KeyInWords(key_id))
            .WithHint(
                "Newer objects need the key that the identity names. To read the objects of the "
                "other key, copy the repository without \"identity/\" to a cluster name of its "
                "own, and restore the key there.");
      }
    }
    return found->second.fits() ? Result<const FoundKey*>(&found->second) : NothingTells();
  }

  static std::string InWords(const FoundIdentity& found) {
    return fmt::format("of {}, which object \"{}\" names, ", KeyInWords(found.identity.key_id),
                       found.object.name);
  }

  // A list of the keys, and of what each fits.
  std::string Choices() const {
    std::string choices;
    for (const auto& [key_id, found] : keys_) {
      if (found.fits()) {
        choices += fmt::format("{}\"{}\" fits {} backups and {} of {} WAL files",
                               choices.empty() ? "" : ", ", key_id, found.backups.size(),
                               found.wal_files, WalFilesLookedAt());
      }
    }
    return choices;
  }

  std::size_t WalFilesLookedAt() const {
    std::size_t count = 0;
    for (const auto& [system, wal] : wal_) {
      count += wal.unopened.size();
      for (const auto& [key_id, names] : wal.opened) {
        count += names.size();
      }
    }
    return count;
  }

  // Anybody can write an identity that names a key, but it may also be true.
  Error UnknownIdentity() const {
    const FoundIdentity& unknown = unknown_.front();
    return MakeError(ErrorCode::kConflict,
                     "object \"{}\" of repository \"{}\" names {}, but the passphrase opens no "
                     "copy of that key{}",
                     unknown.object.name, store_->location(), KeyInWords(unknown.identity.key_id),
                     NotTried())
        .WithHint(fmt::format("If that key is the right one, check the passphrase, or pass a copy "
                              "of its wrap with --from. If the identity is forged or belongs to "
                              "another cluster, choose the right key with --key-id: {}.",
                              Choices()));
  }

  // The error when the key of a verified identity fits nothing else, but another key does.
  Error IdentityOfOthers(const FoundKey& named) const {
    return MakeError(ErrorCode::kConflict,
                     "object \"{}\" of repository \"{}\" names {}, which fits neither a backup nor "
                     "WAL there",
                     IdentityName(named.identities.front()), store_->location(),
                     KeyInWords(KeyId(named)))
        .WithHint(fmt::format(
            "The keys found are: {}. If the identity belongs to another cluster, keep a copy of "
            "it, delete it, and try again. If it is right, choose its key with --key-id.",
            Choices()));
  }

  Error NothingTells() const {
    return MakeError(ErrorCode::kNotFound,
                     "repository \"{}\" holds no backup that tells which cluster it belongs to",
                     store_->location())
        .WithHint("If the cluster itself still exists, run SELECT veza_backup_init() on it.");
  }

  Error NoCopy(const std::string& which) const {
    return MakeError(ErrorCode::kNotFound,
                     "no copy {}was found in repository \"{}\" that the passphrase opens{}", which,
                     store_->location(), NotTried())
        .WithHint(
            "Check the passphrase. Otherwise pass a copy of the object below \"key/\" with --from, "
            "for example an older version from the bucket. Backups of version 0.1 hold no copy.");
  }

  std::string NotTried() const {
    return passed_over_ == 0 ? ""
                             : fmt::format(
                                   "; {} possible copies were not tried, because the passphrase "
                                   "does not open the first {} of their source",
                                   passed_over_, limits::kKeyWrapsTried);
  }

  Result<Plan> MakePlan(const FoundKey& chosen) const {
    Plan plan;
    if (chosen.key) {
      ASSIGN_OR_RETURN(plan.wrap, PlanWrap(chosen));
    }
    std::map<std::uint64_t, Identity> told = ToldBy(chosen);
    for (const std::uint64_t present : chosen.identities) {
      told.erase(present);
    }
    if (told.empty() && chosen.identities.empty() && damaged_.empty() && unknown_.empty()) {
      return NothingTells();
    }
    for (auto& [system, identity] : told) {
      identity.cipher = CipherName(options_.cipher);
      identity.key_id = report_.key_id;
      identity.node = options_.node;
      identity.created = environment_.clock->Now();
      plan.identities.push_back({identity, InPlaceOf(IdentityName(system))});
    }
    RETURN_IF_ERROR(RequireAllReplaced(plan));
    return plan;
  }

  Error MaybeRemoved() const {
    return MakeError(ErrorCode::kConflict,
                     "the passphrase opens a copy of the key, but no object \"{}\" of repository "
                     "\"{}\", where other passphrases have theirs",
                     KeyWrapName(report_.key_id, "*"), store_->location())
        .WithHint(
            "If somebody has removed this passphrase, use another one. If its wrap was lost or "
            "damaged, put it back with \"vezactl key restore --even-if-removed\".");
  }

  // nullopt when there is a wrap in place that opening the repository will find.
  Result<std::optional<PlannedWrap>> PlanWrap(const FoundKey& chosen) const {
    const std::string key_id = KeyId(chosen);
    const auto found = FindKey(*store_, key_id, options_, *environment_.cancellation);
    if (found) {
      return std::optional<PlannedWrap>();
    }
    if (IsOfTheStore(found.error())) {
      return found.error();
    }
    if (!request_.even_if_removed) {
      ASSIGN_OR_RETURN(const bool has_others,
                       HoldsSignedWrap(*store_, *chosen.key, *environment_.cancellation));
      if (has_others) {
        return MaybeRemoved();
      }
    }
    ASSIGN_OR_RETURN(const bool has_room,
                     HasRoomForWrap(*store_, key_id, options_, *environment_.cancellation));
    if (!has_room) {
      return found.error();
    }
    PlannedWrap planned{chosen.wrap.wrap, chosen.wrap.source};
    if (planned.wrap.name.empty()) {
      // The user has given it. Other passphrases can tell by the signature that it is true.
      ASSIGN_OR_RETURN(planned.wrap.text, SignWrap(*chosen.key, planned.wrap.text, ""));
    }
    const bool is_name_of_ours = planned.wrap.name.starts_with(KeyWrapName(key_id, "")) &&
                                 ValidateObjectName(planned.wrap.name);
    ASSIGN_OR_RETURN(const bool is_taken, is_name_of_ours ? HoldsObject(*store_, planned.wrap.name)
                                                          : Result<bool>(true));
    if (is_taken) {
      planned.wrap.name.clear();
    }
    return std::optional(std::move(planned));
  }

  // The systems whose identity is known: from a backup, or from the server, if the key opens the
  // server's WAL.
  std::map<std::uint64_t, Identity> ToldBy(const FoundKey& chosen) const {
    std::map<std::uint64_t, Identity> told;
    for (const FittingBackup& backup : chosen.backups) {  // the newest is last
      told[backup.identity.system_identifier] = backup.identity;
    }
    if (request_.server) {
      const std::uint64_t system = request_.server->system_identifier;
      const auto wal = wal_.find(system);
      if (wal != wal_.end() && wal->second.opened.contains(KeyId(chosen))) {
        told.emplace(system, *request_.server);
      }
    }
    return told;
  }

  std::optional<NamedText> InPlaceOf(const std::string& name) const {
    const auto damaged = std::ranges::find(damaged_, name, &NamedText::name);
    if (damaged != damaged_.end()) {
      return *damaged;
    }
    for (const FoundIdentity& unknown : unknown_) {
      if (unknown.object.name == name) {
        return unknown.object;
      }
    }
    return std::nullopt;
  }

  // If one of them is not replaced, the repository cannot be opened.
  Status RequireAllReplaced(const Plan& plan) const {
    std::vector<std::string> names;
    for (const NamedText& object : damaged_) {
      names.push_back(object.name);
    }
    for (const FoundIdentity& unknown : unknown_) {
      names.push_back(unknown.object.name);
    }
    for (const std::string& name : names) {
      const bool is_replaced = std::ranges::any_of(plan.identities, [&](const auto& planned) {
        return planned.replaced && planned.replaced->name == name;
      });
      if (!is_replaced) {
        return MakeError(ErrorCode::kDataCorrupted,
                         "object \"{}\" of repository \"{}\" is damaged or forged, and no backup "
                         "tells its content",
                         name, store_->location())
            .WithHint(
                "Keep a copy of the object, delete it, and try again. If the cluster itself still "
                "exists, then run SELECT veza_backup_init() on it.");
      }
    }
    return Ok();
  }

  Status Describe(const Plan& plan) {
    if (plan.wrap) {
      report_.source = plan.wrap->source;
      report_.written.push_back(plan.wrap->wrap.name.empty() ? KeyWrapName(report_.key_id, "<new>")
                                                             : plan.wrap->wrap.name);
    }
    for (const PlannedIdentity& planned : plan.identities) {
      report_.written.push_back(IdentityName(planned.identity.system_identifier));
    }
    return Ok();
  }

  // The wrap is written first, because an identity promises that there is one.
  Status CarryOut(const Plan& plan) {
    if (plan.wrap) {
      report_.source = plan.wrap->source;
      ASSIGN_OR_RETURN(std::string name,
                       PutKeyWrap(*store_, report_.key_id, plan.wrap->wrap, *environment_.random));
      report_.written.push_back(std::move(name));
    }
    for (const PlannedIdentity& planned : plan.identities) {
      std::string name = IdentityName(planned.identity.system_identifier);
      ASSIGN_OR_RETURN(const std::string text, SerializeIdentity(planned.identity, policy_));
      RETURN_IF_ERROR(planned.replaced ? ReplaceDamagedIdentity(*store_, *planned.replaced, text)
                                       : PutSmallOnce(*store_, name, AsBytes(text)));
      report_.written.push_back(std::move(name));
    }
    RETURN_IF_ERROR(Repository::Open(store_, options_, environment_));
    return Ok();
  }

  void DescribeFit(const FoundKey& chosen) {
    for (const FittingBackup& backup : chosen.backups) {
      report_.backups.push_back(backup.label);
    }
    for (const auto& [key_id, found] : keys_) {
      for (const FittingBackup& backup : found.backups) {
        if (key_id != report_.key_id) {
          report_.unfitting.push_back(backup.label);
        }
      }
    }
    std::ranges::sort(report_.unfitting);
    for (auto& [system, wal] : wal_) {
      for (auto& [key_id, names] : wal.opened) {
        if (key_id != report_.key_id) {
          std::ranges::move(names, std::back_inserter(report_.unfitting_wal));
        }
      }
      std::ranges::move(wal.unopened, std::back_inserter(report_.unfitting_wal));
    }
    std::ranges::sort(report_.unfitting_wal);
  }

  const std::shared_ptr<Store> store_;
  const RepositoryOptions& options_;
  const Environment& environment_;
  const KeyRestoreRequest& request_;

  std::vector<FoundIdentity> unknown_;  // those that name a key that was not found
  std::vector<NamedText> damaged_;      // identities
  std::vector<std::string> labels_;
  std::size_t passed_over_ = 0;               // number of wraps not tried, because of a limit
  std::map<std::string, FoundKey> keys_;      // by key id
  std::map<std::uint64_t, WalEvidence> wal_;  // by system
  SealPolicy policy_;
  KeyRestoreReport report_;
};

}  // namespace

Result<KeyRestoreReport> RestoreKey(const std::shared_ptr<Store>& store,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    const KeyRestoreRequest& request) {
  RepositoryOptions told = options;
  RETURN_IF_ERROR(TellPassphrase(told, environment));
  return KeyRestorer(store, told, environment, request).Run();
}

}  // namespace veza
