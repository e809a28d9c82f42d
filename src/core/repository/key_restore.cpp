#include "core/repository/key_restore.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/codec/frame_reader.h"
#include "core/codec/key.h"
#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/entrance.h"
#include "core/repository/names.h"
#include "core/repository/tombstone.h"

namespace veza {

namespace {

// Object header and attributes frame are some 300 bytes.
constexpr std::uint64_t kHeadSize = 4096;

struct FoundWrap {
  NamedText wrap;
  std::string source;        // in words
  bool is_in_place = false;  // an object below key/
};

// Where wraps come from; each has its own limit, so that junk in one does not keep another's away.
struct WrapSource {
  std::vector<FoundWrap> wraps;
  std::size_t tried = 0;
  std::size_t passed_over = 0;  // for the limit
};

// What is needed of a backup: all of every backup.json would be too much to keep.
struct FittingBackup {
  std::string label;
  Identity identity;  // of its system, as far as the backup tells
};

struct FoundIdentity {
  Identity identity;
  NamedText object;
};

struct FoundKey {
  std::shared_ptr<const DataKey> key;
  FoundWrap wrap;  // that the passphrase opens; the first, but one in place rather than another
  std::vector<FittingBackup> backups;  // that it fits
};

// Of every backup and tombstone, oldest first.
Result<std::vector<std::string>> ListBackupLabels(Store& store) {
  ASSIGN_OR_RETURN(std::vector<std::string> labels, store.ListDirectories(kBackupPrefix));
  std::erase_if(labels, [](const std::string& label) { return !ParseLabel(label); });
  return labels;
}

// backup.json as it is written. Nothing: there is none. What is too large to be one is empty.
Result<std::optional<std::string>> ReadBackupText(Store& store, const std::string& label) {
  const Result<Bytes> text = GetSmall(store, BackupDocumentName(label), limits::kBackupDocument);
  if (text) {
    return std::optional(std::string(AsText(*text)));
  }
  switch (text.error().code) {
    case ErrorCode::kNotFound:
      return std::optional<std::string>();
    case ErrorCode::kDataCorrupted:
      return std::optional<std::string>("");
    default:
      return text.error();
  }
}

// Whether the policy's key opens what a server has archived. Nothing of it there: false.
Result<bool> FitsWal(Store& store, const SealPolicy& policy, std::uint64_t system_identifier) {
  std::string first;
  const Status listed =
      store.List(WalSystemPrefix(system_identifier), "", [&](const ObjectInfo& object) -> Status {
        first = object.name;
        return MakeError(ErrorCode::kAlreadyExists, "one object is enough");
      });
  if (first.empty()) {
    RETURN_IF_ERROR(listed);
    return false;
  }
  FrameReader reader(policy, ObjectKind::kStream, first);
  const Status read = store.Get(first, {0, kHeadSize}, [&](ByteView piece) {
    return reader.Feed(piece, [](auto&&...) { return Ok(); });
  });
  if (!read && read.error().code == ErrorCode::kWrongKey) {
    return false;
  }
  RETURN_IF_ERROR(read);
  return reader.attributes().has_value();
}

class KeyRestorer {
 public:
  KeyRestorer(std::shared_ptr<Store> store, const RepositoryOptions& options,
              const Environment& environment, const KeyRestoreRequest& request)
      : store_(std::move(store)), options_(options), environment_(environment), request_(request) {}

  Result<KeyRestoreReport> Run() {
    ASSIGN_OR_RETURN(labels_, ListBackupLabels(*store_));
    RETURN_IF_ERROR(ReadIdentities());
    RETURN_IF_ERROR(CheckWish());
    if (options_.cipher == Cipher::kNone) {
      keys_[""] = {};
    } else {
      RETURN_IF_ERROR(FindKeys());
    }
    RETURN_IF_ERROR(FitBackups());
    ASSIGN_OR_RETURN(FoundKey* const chosen, Choose());
    policy_ = {options_.cipher, chosen->key};
    RETURN_IF_ERROR(VerifyIdentities());
    RETURN_IF_ERROR(Write(*chosen));
    Describe(*chosen);
    if (!request_.dry_run) {
      RETURN_IF_ERROR(Repository::Open(store_, options_, environment_));
    }
    return std::move(report_);
  }

 private:
  Status ReadIdentities() {
    ASSIGN_OR_RETURN(std::vector<NamedText> objects, ReadDamagedIdentities(*store_));
    std::optional<bool> holds_keys;  // asked once: it may read every backup.json
    for (NamedText& object : objects) {
      Result<Identity> identity = ParseUnverifiedIdentity(object);
      if (identity && identity->key_id.empty() && options_.cipher != Cipher::kNone) {
        // Anybody can write one that names no key (RequireNoKey in repository.cpp).
        if (!holds_keys) {
          ASSIGN_OR_RETURN(holds_keys, HoldsKeys());
        }
        if (*holds_keys) {
          damaged_.push_back(std::move(object));
          continue;
        }
      }
      if (identity) {
        identities_.push_back({std::move(*identity), std::move(object)});
      } else if (identity.error().code == ErrorCode::kDataCorrupted) {
        damaged_.push_back(std::move(object));
      } else {
        return identity.error();
      }
    }
    return Ok();
  }

  Result<bool> HoldsKeys() {
    ASSIGN_OR_RETURN(bool holds, HoldsObject(*store_, kKeyPrefix));
    for (auto label = labels_.rbegin(); !holds && label != labels_.rend(); ++label) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(*store_, *label));
      holds = !UnverifiedKeyWraps(text.value_or("")).empty();
    }
    return holds;
  }

  // With the key that they name.
  Status VerifyIdentities() {
    std::vector<FoundIdentity> good;
    for (FoundIdentity& found : identities_) {
      const Result<Identity> verified = ParseIdentity(found.object, policy_);
      if (verified) {
        good.push_back(std::move(found));
      } else if (IsDamagedDocument(verified.error())) {
        damaged_.push_back(std::move(found.object));
      } else {
        return verified.error();
      }
    }
    identities_ = std::move(good);
    return Ok();
  }

  // Identities that are there decide on the key.
  Status CheckWish() {
    wanted_ = request_.key_id;
    for (const auto& [identity, object] : identities_) {
      if (wanted_ && *wanted_ != identity.key_id) {
        return MakeError(ErrorCode::kConflict,
                         "identity {} of repository \"{}\" names key \"{}\", not \"{}\"",
                         identity.system_identifier, store_->location(), identity.key_id, *wanted_)
            .WithHint(
                "What was stored since then needs that key. To read what needs the other one, copy "
                "the repository without \"identity/\" to a cluster name of its own, and restore "
                "the key there.");
      }
      wanted_ = identity.key_id;
    }
    if (wanted_ && wanted_->empty() != (options_.cipher == Cipher::kNone)) {
      return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" is {}encrypted",
                       store_->location(), wanted_->empty() ? "not " : "")
          .WithHint("Set veza_backup.cipher as it was when the repository was made.");
    }
    return Ok();
  }

  // What somebody has given by hand comes first, what lies in the store behind it.
  Status FindKeys() {
    WrapSource file;
    if (request_.wrap) {
      file.wraps.push_back({{"", *request_.wrap}, "the file", false});
    }
    ASSIGN_OR_RETURN(WrapSource in_place, WrapsInPlace());
    ASSIGN_OR_RETURN(WrapSource backups, WrapsOfBackups());
    for (WrapSource* const source : {&file, &in_place, &backups}) {
      RETURN_IF_ERROR(TryWraps(*source));
      passed_over_ += source->passed_over;
    }
    return Ok();
  }

  Result<WrapSource> WrapsInPlace() {
    WrapSource source;
    if (wanted_) {
      // First, so that others cannot keep them away.
      RETURN_IF_ERROR(ReadWraps(KeyWrapName(*wanted_, ""), source));
    }
    RETURN_IF_ERROR(ReadWraps(kKeyPrefix, source));
    return source;
  }

  Status ReadWraps(std::string_view prefix, WrapSource& source) {
    ASSIGN_OR_RETURN(const FirstObjects first, ListOldestWraps(*store_, std::string(prefix)));
    source.passed_over += first.more ? 1 : 0;
    for (const ObjectInfo& object : first.objects) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const bool is_known = std::ranges::any_of(
          source.wraps, [&](const FoundWrap& found) { return found.wrap.name == object.name; });
      const Result<Bytes> text =
          is_known ? Result<Bytes>(Bytes()) : GetListed(*store_, object, limits::kKeyWrap);
      if (!text && !IsNoWrap(text.error())) {
        return text.error();
      }
      if (text && !is_known) {
        source.wraps.push_back({{object.name, std::string(AsText(*text))},
                                fmt::format("object \"{}\"", object.name),
                                true});
      }
    }
    return Ok();
  }

  Result<WrapSource> WrapsOfBackups() {
    WrapSource source;
    std::set<std::string> known;
    for (auto label = labels_.rbegin(); label != labels_.rend(); ++label) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(*store_, *label));
      std::vector<NamedText> wraps = UnverifiedKeyWraps(text.value_or(""));
      std::stable_partition(wraps.begin(), wraps.end(),
                            [&](const auto& wrap) { return IsNamedAsWanted(wrap); });
      if (wraps.size() > limits::kKeyWrapsOfABackup) {
        source.passed_over += wraps.size() - limits::kKeyWrapsOfABackup;
        wraps.resize(limits::kKeyWrapsOfABackup);
      }
      for (NamedText& wrap : wraps) {
        // All backups of a repository hold the same copy.
        if (known.contains(wrap.text)) {
          continue;
        }
        if (known.size() == limits::kKeyWraps) {
          ++source.passed_over;
          continue;
        }
        known.insert(wrap.text);
        source.wraps.push_back(
            {std::move(wrap), fmt::format("the copy in backup \"{}\"", *label), false});
      }
    }
    return source;
  }

  bool IsNamedAsWanted(const NamedText& wrap) const {
    return wanted_ && wrap.name.starts_with(KeyWrapName(*wanted_, ""));
  }

  Status TryWraps(WrapSource& source) {
    std::stable_partition(source.wraps.begin(), source.wraps.end(),
                          [&](const FoundWrap& found) { return IsNamedAsWanted(found.wrap); });
    for (FoundWrap& wrap : source.wraps) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const auto known = tried_.find(wrap.wrap.text);
      if (known != tried_.end()) {
        PreferInPlace(known->second, wrap);
        continue;
      }
      if (source.tried == limits::kKeyWrapsTried) {
        ++source.passed_over;
        continue;
      }
      const Result<DataKey> key = UnwrapKey(wrap.wrap.text, options_.passphrase.text());
      source.tried += key || key.error().code == ErrorCode::kWrongKey ? 1 : 0;
      std::string key_id = key ? key->hex_id() : "";
      tried_.emplace(wrap.wrap.text, key_id);
      if (key && !PreferInPlace(key_id, wrap)) {
        // The wrap of another key, under this one's name, is of no use there.
        wrap.is_in_place = IsInPlaceOf(key_id, wrap);
        keys_.emplace(std::move(key_id),
                      FoundKey{std::make_shared<const DataKey>(*key), std::move(wrap), {}});
      }
    }
    return Ok();
  }

  static bool IsInPlaceOf(const std::string& key_id, const FoundWrap& wrap) {
    return wrap.is_in_place && wrap.wrap.name.starts_with(KeyWrapName(key_id, ""));
  }

  // Another wrap that opens the key; false: no wrap of it is known yet.
  bool PreferInPlace(const std::string& key_id, const FoundWrap& wrap) {
    const auto found = keys_.find(key_id);
    if (found == keys_.end()) {
      return false;
    }
    if (!found->second.wrap.is_in_place && IsInPlaceOf(key_id, wrap)) {
      found->second.wrap = wrap;
    }
    return true;
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

  // To the key that has signed it.
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

  Result<FoundKey*> Choose() {
    if (wanted_) {
      const auto found = keys_.find(*wanted_);
      if (found == keys_.end()) {
        return NoCopy(fmt::format("of key \"{}\" ", *wanted_));
      }
      return &found->second;
    }
    std::vector<FoundKey*> fitting;
    std::string choices;
    for (auto& [key_id, found] : keys_) {
      ASSIGN_OR_RETURN(const bool fits, Fits(found));
      if (fits) {
        fitting.push_back(&found);
        choices += fmt::format("{}\"{}\" fits {} backups", choices.empty() ? "" : ", ", key_id,
                               found.backups.size());
      }
    }
    if (fitting.size() == 1) {
      return fitting.front();
    }
    if (fitting.size() > 1) {
      return MakeError(ErrorCode::kConflict, "repository \"{}\" holds what needs {} keys",
                       store_->location(), fitting.size())
          .WithHint(fmt::format("Choose one with --key-id: {}.", choices));
    }
    if (keys_.empty()) {
      return NoCopy("");
    }
    return MakeError(ErrorCode::kNotFound,
                     "repository \"{}\" holds no backup that tells to whom it belongs",
                     store_->location())
        .WithHint("If the cluster itself is still there, run SELECT veza_backup_init() on it.");
  }

  Result<bool> Fits(const FoundKey& found) {
    if (!found.backups.empty() || !request_.server) {
      return !found.backups.empty();
    }
    return FitsWal(*store_, {options_.cipher, found.key}, request_.server->system_identifier);
  }

  Error NoCopy(const std::string& which) const {
    return MakeError(ErrorCode::kNotFound,
                     "no copy {}was found in repository \"{}\" that the passphrase opens{}", which,
                     store_->location(), NotTried())
        .WithHint(
            "Check the passphrase. Otherwise give a copy of the object below \"key/\" with --from: "
            "from an older version in the bucket, for example. Backups of version 0.1 hold none.");
  }

  std::string NotTried() const {
    return passed_over_ == 0 ? ""
                             : fmt::format(
                                   "; {} of what looks like copies were not tried, because the "
                                   "passphrase does not open the first {} of their source",
                                   passed_over_, limits::kKeyWrapsTried);
  }

  Status Write(const FoundKey& chosen) {
    report_.key_id = chosen.key ? chosen.key->hex_id() : "";
    if (chosen.key && !chosen.wrap.is_in_place) {
      report_.source = chosen.wrap.source;
      std::string name = chosen.wrap.wrap.name.empty() ? KeyWrapName(report_.key_id, "<new>")
                                                       : chosen.wrap.wrap.name;
      if (!request_.dry_run) {
        ASSIGN_OR_RETURN(
            name, PutKeyWrap(*store_, report_.key_id, chosen.wrap.wrap, *environment_.random));
      }
      report_.written.push_back(std::move(name));
    }
    std::map<std::uint64_t, Identity> missing;
    for (const FittingBackup& backup : chosen.backups) {  // the newest comes last
      missing[backup.identity.system_identifier] = backup.identity;
    }
    RETURN_IF_ERROR(AddServer(missing));
    for (const FoundIdentity& present : identities_) {
      missing.erase(present.identity.system_identifier);
    }
    for (auto& [system, identity] : missing) {
      RETURN_IF_ERROR(WriteIdentity(identity));
    }
    return Ok();
  }

  Status AddServer(std::map<std::uint64_t, Identity>& missing) {
    if (!request_.server || missing.contains(request_.server->system_identifier)) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const bool fits,
                     FitsWal(*store_, policy_, request_.server->system_identifier));
    if (fits) {
      missing[request_.server->system_identifier] = *request_.server;
    }
    return Ok();
  }

  Status WriteIdentity(Identity& identity) {
    identity.cipher = CipherName(options_.cipher);
    identity.key_id = report_.key_id;
    identity.node = options_.node;
    identity.created = environment_.clock->Now();
    std::string name = IdentityName(identity.system_identifier);
    if (!request_.dry_run) {
      ASSIGN_OR_RETURN(const std::string text, SerializeIdentity(identity, policy_));
      const auto damaged = std::ranges::find(damaged_, name, &NamedText::name);
      RETURN_IF_ERROR(damaged == damaged_.end() ? PutSmallOnce(*store_, name, AsBytes(text))
                                                : ReplaceDamagedIdentity(*store_, *damaged, text));
    }
    report_.written.push_back(std::move(name));
    return Ok();
  }

  void Describe(const FoundKey& chosen) {
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
  }

  const std::shared_ptr<Store> store_;
  const RepositoryOptions& options_;
  const Environment& environment_;
  const KeyRestoreRequest& request_;

  std::vector<FoundIdentity> identities_;
  std::vector<NamedText> damaged_;  // identities
  std::optional<std::string> wanted_;
  std::vector<std::string> labels_;
  std::map<std::string, std::string> tried_;  // by a wrap's text; the id of the key that it opened
  std::size_t passed_over_ = 0;               // wraps, for a limit
  std::map<std::string, FoundKey> keys_;      // by key id
  SealPolicy policy_;
  KeyRestoreReport report_;
};

}  // namespace

Result<KeyRestoreReport> RestoreKey(const std::shared_ptr<Store>& store,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    const KeyRestoreRequest& request) {
  return KeyRestorer(store, options, environment, request).Run();
}

}  // namespace veza
