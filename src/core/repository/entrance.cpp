#include "core/repository/entrance.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/codec/json.h"
#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/identity_list.h"
#include "core/repository/key_search.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"
#include "core/repository/passphrase_command.h"

namespace veza {

namespace {

// A text that sorts after every object name with the prefix, which ends with '/'.
std::string BehindAll(std::string_view prefix) {
  return std::string(prefix) + "~";
}

// The first object that only a repository in use has, that is, neither a key wrap nor a probe, nor
// a foreign object below identity/. Empty when there is none. Lists one or two pages, however many
// other objects there are.
Result<std::string> FirstUse(Store& store) {
  std::string start_after;
  std::size_t foreign = 0;
  for (;;) {
    std::string first;
    const Status listed = store.List("", start_after, [&](const ObjectInfo& object) -> Status {
      if (object.name.starts_with(kIdentityPrefix) && !ParseIdentityName(object.name) &&
          ++foreign <= limits::kForeignIdentities) {
        return Ok();
      }
      first = object.name;
      return MakeError(ErrorCode::kAlreadyExists, "one object is enough");
    });
    if (first.empty()) {
      RETURN_IF_ERROR(listed);
      return first;
    }
    if (first.starts_with(kKeyPrefix)) {
      start_after = BehindAll(kKeyPrefix);
    } else if (first.starts_with(kProbePrefix)) {
      start_after = BehindAll(kProbePrefix);
    } else {
      return first;
    }
  }
}

constexpr const char* kHowToPutBack =
    "Something has deleted objects of the repository, for example a lifecycle rule or a clean-up "
    "script. Stop that first. A server that had the repository open puts the objects back within "
    "minutes, or writes into its log why it does not. Otherwise run \"vezactl key restore\".";

constexpr const char* kHowToMendWrap =
    "Something has replaced or damaged the object. A server that had the repository open puts it "
    "back within minutes, or writes into its log why it does not. Otherwise run \"vezactl key "
    "restore\".";

// The hint where PutBack does not decide which of two keys is right.
constexpr const char* kWhichKey =
    "Nothing is put back automatically, because the other key may be the right one: another server "
    "may have created it, or somebody may have put another cluster's objects there. Do not restart "
    "this server. Find out which key older backups need: see \"When identity or key were deleted\" "
    "in docs/backups.md.";

Error LostIdentity(const Store& store, const std::string& first, bool lacks_key) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "repository \"{}\" has lost its identity{}: it holds object \"{}\", but no "
                   "identity of a system below \"identity/\"{}",
                   store.location(), lacks_key ? " and its key" : "", first,
                   lacks_key ? ", and nothing below \"key/\"" : "")
      .WithHint(kHowToPutBack);
}

Error OtherKey(const Store& store, const Identity& identity, const EntranceCopy& held) {
  return MakeError(ErrorCode::kConflict,
                   "identity {} of repository \"{}\" names {}, but this server has opened it with "
                   "{}",
                   identity.system_identifier, store.location(), KeyInWords(identity.key_id),
                   KeyInWords(held.key_id))
      .WithHint(kWhichKey);
}

Error Ambiguous(const Store& store, const std::string& wrap) {
  return MakeError(ErrorCode::kConflict,
                   "repository \"{}\" has lost its identity, and object \"{}\" belongs to another "
                   "key than the one with which this server has opened it",
                   store.location(), wrap)
      .WithHint(
          "Nothing is put back automatically, because the other key may be the right one. Run "
          "\"vezactl key restore\", or SELECT veza_backup_init() on the primary.");
}

// The name of a wrap of another key than `key_id`. Empty when there is none.
Result<std::string> WrapOfOtherKey(Store& store, const std::string& key_id) {
  std::string other;
  const Status listed = store.List(kKeyPrefix, "", [&](const ObjectInfo& object) -> Status {
    if (key_id.empty() || !object.name.starts_with(KeyWrapName(key_id, ""))) {
      other = object.name;
      return MakeError(ErrorCode::kCancelled, "one is enough");
    }
    return Ok();
  });
  if (other.empty()) {
    RETURN_IF_ERROR(listed);
  }
  return other;
}

// The error for a place that holds something, but nothing that proves that it is the same
// repository.
Error UnprovenPlace(const Store& store, const std::string& first) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" has lost its identity, and nothing proves that it is the "
                   "same repository as before: it holds object \"{}\"",
                   store.location(), first)
      .WithHint(
          "Nothing is put back, because this may be another place: a file system that is not "
          "mounted, or the credentials of another account. If it is the right place and still "
          "holds its backups, run \"vezactl key restore\". If its backups were deleted, delete the "
          "rest, run SELECT veza_backup_init() and take a full backup.");
}

Error LostKey(const Store& store, const std::string& key_id) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "repository \"{}\" has lost its key: there is no object \"{}\"",
                   store.location(), KeyWrapName(key_id, "*"))
      .WithHint(kHowToPutBack);
}

Error WrapOfAnotherKey(const Store& store, const std::string& name, const std::string& key_id) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "object \"{}\" of repository \"{}\" is the wrap of another key, \"{}\"", name,
                   store.location(), key_id)
      .WithHint(kHowToMendWrap);
}

Error TooManyWraps(const Store& store, const std::string& key_id, std::size_t count) {
  return MakeError(ErrorCode::kWrongKey,
                   "repository \"{}\" holds {} objects \"{}\", and the passphrase opens none of "
                   "the first {}; the others are not tried",
                   store.location(), count, KeyWrapName(key_id, "*"), limits::kKeyWrapsTried)
      .WithHint(
          "There should be one for each passphrase. Find out who wrote the others, keep a copy of "
          "them, and remove those that none of your passphrases opens.");
}

// `unusable`: why an object beside the wraps could not be tried, if there is one.
Error WrongPassphrase(const Store& store, const std::optional<Error>& unusable) {
  constexpr const char* kSetOne =
      "Set veza_backup.cipher_passphrase, cipher_passphrase_file or cipher_passphrase_command to "
      "one of the passphrases of the repository. \"vezactl key list\" shows their names, with a "
      "configuration that has one of them.";
  const std::string message =
      fmt::format("the passphrase does not open repository \"{}\"", store.location());
  if (!unusable) {
    return MakeError(ErrorCode::kWrongKey, "{}", message).WithHint(kSetOne);
  }
  return MakeError(ErrorCode::kWrongKey, "{}; one wrap could not be tried: {}", message,
                   unusable->message)
      .WithHint(fmt::format("{} If this is the right passphrase, its wrap is the one that could "
                            "not be tried: run \"vezactl key restore\".",
                            kSetOne));
}

Result<Result<Bytes>> UnlessOfTheStore(Result<Bytes> text) {
  if (!text && IsOfTheStore(text.error())) {
    return std::move(text.error());
  }
  return Result<Result<Bytes>>(tl::in_place, std::move(text));
}

// The key id that the wrap names, if it is not `key_id`. nullopt otherwise.
std::optional<std::string> OtherKeyOf(std::string_view wrap, const std::string& key_id) {
  const std::optional<Json> document = ParseJsonObject(wrap, {.size = limits::kKeyWrap});
  std::optional<std::string> named = document ? StringMember(*document, "key_id") : std::nullopt;
  return named == key_id ? std::nullopt : named;
}

// The key, if the text is a wrap of `key_id` that the passphrase opens.
Result<DataKey> UnwrapOwn(const Store& store, const std::string& key_id, const NamedText& wrap,
                          std::string_view passphrase) {
  if (const auto other = OtherKeyOf(wrap.text, key_id)) {
    return WrapOfAnotherKey(store, wrap.name, *other);
  }
  Result<DataKey> key = UnwrapKey(wrap.text, passphrase);
  if (!key && key.error().code == ErrorCode::kDataCorrupted) {
    return std::move(key.error())
        .WithContext(fmt::format("object \"{}\"", wrap.name))
        .WithHint(kHowToMendWrap);
  }
  if (!key && key.error().code != ErrorCode::kWrongKey) {
    return std::move(key.error()).WithContext(fmt::format("object \"{}\"", wrap.name));
  }
  return key;
}

// The key, if the wrap that was opened last time still exists and the passphrase opens it.
Result<std::optional<OpenedKey>> TryFirst(Store& store, const std::string& key_id,
                                          const RepositoryOptions& options) {
  const std::string& name = options.first_wrap;
  if (!name.starts_with(KeyWrapName(key_id, "")) || !ValidateObjectName(name)) {
    return std::optional<OpenedKey>();
  }
  ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store, name));
  const NamedText wrap{name, text ? std::string(AsText(*text)) : ""};
  Result<DataKey> key = UnwrapOwn(store, key_id, wrap, options.passphrase.text());
  return key ? std::optional(OpenedKey{*std::move(key), wrap}) : std::nullopt;
}

}  // namespace

Result<FirstObjects> ListOldestWraps(Store& store, const std::string& prefix) {
  FirstObjects oldest;
  const auto keep_oldest = [&oldest] {
    std::ranges::stable_sort(oldest.objects, {}, &ObjectInfo::modified);
    if (oldest.objects.size() > limits::kKeyWraps) {
      oldest.objects.resize(limits::kKeyWraps);
      oldest.more = true;
    }
  };
  RETURN_IF_ERROR(store.List(prefix, "", [&](const ObjectInfo& object) {
    oldest.objects.push_back(object);
    if (oldest.objects.size() == 2 * limits::kKeyWraps) {
      keep_oldest();
    }
    return Ok();
  }));
  keep_oldest();
  return oldest;
}

namespace {

// How much older than the last check an object must be to count as older. The clocks of a store's
// nodes may differ by less than this.
constexpr std::chrono::seconds kStoreClocksDiffer{5};
// The objects that were stored first are usually listed first.
constexpr std::size_t kNamesLookedAt = 1000;
constexpr std::size_t kBackupsLookedAt = 16;

Result<bool> HoldsOlder(Store& store, std::string_view prefix, TimePoint than) {
  ASSIGN_OR_RETURN(const FirstObjects first, ListFirst(store, prefix, kNamesLookedAt));
  return std::ranges::any_of(first.objects, [&](const ObjectInfo& object) {
    return object.modified + kStoreClocksDiffer < than;
  });
}

// Whether there is a backup.json that the key has signed. Its writer has checked that the identity
// was in place (RequireKeyInPlace).
Result<bool> HoldsSignedBackup(Store& store, const SealPolicy& policy) {
  ASSIGN_OR_RETURN(const std::vector<std::string> labels, store.ListDirectories(kBackupPrefix));
  std::size_t left = kBackupsLookedAt;
  for (auto label = labels.rbegin(); label != labels.rend() && left > 0; ++label, --left) {
    if (!ParseLabel(*label)) {
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadBackupText(store, *label));
    if (text && ParseSummary(*text, *label, policy)) {
      return true;
    }
  }
  return false;
}

// Whether the object under a wrap's name, which holds something else, is damaged: unusable, as `key
// remove` sees it, which removes no good wrap as long as there is such an object. So what is put
// back for the sake of one was not removed. Without the key nobody can tell whether a wrap was
// changed.
bool IsDamagedObject(const Result<Bytes>& there, const std::optional<SealPolicy>& policy) {
  if (!there) {
    return there.error().code != ErrorCode::kNotFound;
  }
  return policy && policy->key ? IsUnusableWrap(*policy, AsText(*there))
                               : !PackWrap(AsText(*there)).has_value();
}

// Stores a wrap whose object is damaged, under a new name, and returns that. If the damaged object
// has gone meanwhile, somebody may have looked at the wraps before this one was there, and removed
// all of its passphrase. Then it is taken back, and the result is nullopt.
Result<std::optional<std::string>> PutBesideDamaged(Store& store, const std::string& key_id,
                                                    const NamedText& wrap,
                                                    const std::optional<SealPolicy>& policy,
                                                    Random& random) {
  ASSIGN_OR_RETURN(std::string name, PutKeyWrap(store, key_id, {"", wrap.text}, random));
  const Result<Result<Bytes>> there = GetWrap(store, wrap.name);
  if (there && IsDamagedObject(*there, policy)) {
    return std::optional(std::move(name));
  }
  RETURN_IF_ERROR(store.Delete(name));
  RETURN_IF_ERROR(there);
  return std::optional<std::string>();
}

// Puts back what is missing of the entrance. Run() returns the names of the objects that it has
// stored.
class PutBack {
 public:
  PutBack(Store& store, const RepositoryOptions& options, const Environment& environment,
          const EntranceCopy& held)
      : store_(store), options_(options), environment_(environment), held_(held) {}

  Result<std::vector<std::string>> Run(std::uint64_t system_identifier) {
    policy_ = Policy();
    ASSIGN_OR_RETURN(const std::vector<NamedText> objects, ReadDamagedIdentities(store_));
    bool is_there = false;
    std::vector<NamedText> damaged;
    for (const NamedText& object : objects) {
      const Result<Identity> identity = Read(object);
      if (!identity && !(IsDamagedDocument(identity.error()) && Held(object.name))) {
        return identity.error();
      }
      // If the repository has a wrap of the held key, an identity of a held system that names no
      // key is forged.
      bool is_forged = identity && identity->key_id.empty() && !held_.key_id.empty() &&
                       Held(object.name) != nullptr;
      if (is_forged) {
        ASSIGN_OR_RETURN(is_forged, HoldsObject(store_, KeyWrapName(held_.key_id, "")));
      }
      if (!identity || is_forged) {
        damaged.push_back(object);
      } else if (identity->key_id != held_.key_id) {
        return OtherKey(store_, *identity, held_);
      }
      is_there = is_there || object.name == IdentityName(system_identifier);
    }
    if (objects.size() == damaged.size()) {
      RETURN_IF_ERROR(RefuseBesideOtherKey());
    }
    if (objects.empty()) {
      RETURN_IF_ERROR(RequireOldPlace(system_identifier));
    }
    // FORMAT.md section 7: the wrap is stored before the identity.
    RETURN_IF_ERROR(WriteWraps());
    for (const NamedText& object : damaged) {
      RETURN_IF_ERROR(ReplaceDamagedIdentity(store_, object, Held(object.name)->text));
      written_.push_back(object.name);
    }
    if (!is_there) {
      RETURN_IF_ERROR(WriteIdentities());
    }
    return written_;
  }

 private:
  // A wrap of another key may belong to a repository that was created anew in the same place. Our
  // identity would then make that repository unreadable.
  Status RefuseBesideOtherKey() {
    ASSIGN_OR_RETURN(const std::string other, WrapOfOtherKey(store_, held_.key_id));
    return other.empty() ? Ok() : Ambiguous(store_, other);
  }

  const NamedText* Held(const std::string& name) const {
    const auto found = std::ranges::find(held_.identities, name, &NamedText::name);
    return found == held_.identities.end() ? nullptr : &*found;
  }

  // The seal policy of the held key. nullopt when the passphrase has changed meanwhile.
  std::optional<SealPolicy> Policy() const {
    if (held_.key_id.empty()) {
      return SealPolicy{Cipher::kNone, nullptr};
    }
    for (const NamedText& wrap : held_.key_wraps) {
      if (const Result<DataKey> key = UnwrapKey(wrap.text, options_.passphrase.text())) {
        return SealPolicy{options_.cipher, std::make_shared<const DataKey>(*key)};
      }
    }
    return std::nullopt;
  }

  // Parses the identity, and verifies it if it names the held key and that key is known.
  Result<Identity> Read(const NamedText& object) const {
    Result<Identity> identity = ParseUnverifiedIdentity(object);
    return identity && policy_ && identity->key_id == held_.key_id ? ParseIdentity(object, *policy_)
                                                                   : std::move(identity);
  }

  Status RequireOldPlace(std::uint64_t system_identifier) {
    ASSIGN_OR_RETURN(const std::string first, FirstUse(store_));
    if (first.empty()) {
      return EmptiedRepository(store_);
    }
    for (const std::string& prefix :
         {std::string(kBackupPrefix), WalSystemPrefix(system_identifier)}) {
      ASSIGN_OR_RETURN(const bool is_old, HoldsOlder(store_, prefix, held_.seen));
      if (is_old) {
        return Ok();
      }
    }
    // Without a key, anybody can make a backup that looks right.
    if (policy_ && policy_->key) {
      ASSIGN_OR_RETURN(const bool is_signed, HoldsSignedBackup(store_, *policy_));
      if (is_signed) {
        return Ok();
      }
    }
    return UnprovenPlace(store_, first);
  }

  // A text for which scrypt can run counts as a wrap, and WriteWraps() asks no further. So scrypt
  // runs once at most, and not for a wrap that is held and unchanged.
  bool IsWrapOfOurs(std::string_view text) const {
    if (OtherKeyOf(text, held_.key_id)) {
      return false;
    }
    const Result<DataKey> key = UnwrapKey(text, options_.passphrase.text());
    return key || key.error().code != ErrorCode::kDataCorrupted;
  }

  // Puts wraps back. All of them if no wrap of the key is left: removing one of several may have
  // been on purpose. Beside others, only those with a damaged object under their names. Objects
  // that are no wraps, or wraps of another key, do not count. A wrap that the passphrase does not
  // open counts, because it may belong to another passphrase.
  Status WriteWraps() {
    if (held_.key_id.empty()) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const FirstObjects wraps,
                     ListOldestWraps(store_, KeyWrapName(held_.key_id, "")));
    bool has_other = false;
    std::set<std::string> damaged;
    for (const ObjectInfo& wrap : wraps.objects) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store_, wrap));
      const auto held = std::ranges::find(held_.key_wraps, wrap.name, &NamedText::name);
      const bool is_held = held != held_.key_wraps.end();
      const bool is_intact = is_held && text && AsText(*text) == held->text;
      if (is_held && !is_intact && IsDamagedObject(text, policy_)) {
        damaged.insert(held->name);
      }
      has_other = has_other || is_intact || (!is_held && text && IsWrapOfOurs(AsText(*text)));
    }
    for (const NamedText& wrap : held_.key_wraps) {
      if (damaged.contains(wrap.name)) {
        ASSIGN_OR_RETURN(
            std::optional<std::string> name,
            PutBesideDamaged(store_, held_.key_id, wrap, policy_, *environment_.random));
        if (name) {
          written_.push_back(*std::move(name));
        }
      } else if (!has_other) {
        ASSIGN_OR_RETURN(std::string name,
                         PutKeyWrap(store_, held_.key_id, wrap, *environment_.random));
        written_.push_back(std::move(name));
      }
    }
    return Ok();
  }

  Status WriteIdentities() {
    for (const NamedText& object : held_.identities) {
      const Status put = PutSmall(store_, object.name, AsBytes(object.text), PutMode::kCreate);
      if (!put && put.error().code == ErrorCode::kAlreadyExists) {
        continue;  // the identity of another system, or another node was faster
      }
      RETURN_IF_ERROR(put);
      written_.push_back(object.name);
    }
    return Ok();
  }

  Store& store_;
  const RepositoryOptions& options_;
  const Environment& environment_;
  const EntranceCopy& held_;
  std::optional<SealPolicy> policy_;
  std::vector<std::string> written_;
};

struct OpenedEntrance {
  EntranceCopy copy;
  SealPolicy policy;
};

Result<OpenedEntrance> OpenEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    std::uint64_t system_identifier) {
  // The time is taken before the check. Whatever is stored after a later loss is not older than it.
  ASSIGN_OR_RETURN(const TimePoint now, store->Now());
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   Repository::Open(store, options, environment));
  RETURN_IF_ERROR(repository->RequireSystem(system_identifier));
  EntranceCopy copy = CopyEntrance(*repository, service, now);
  // Without them, what the passphrase has opened is still worth keeping.
  copy.key_wraps = WrapsToCopy(*repository).value_or(copy.key_wraps);
  return OpenedEntrance{std::move(copy), repository->seal_policy()};
}

bool HoldSameWrap(std::string_view one, std::string_view other) {
  const Result<Bytes> first = PackWrap(one);
  const Result<Bytes> second = PackWrap(other);
  return first && second && *first == *second;
}

// Adds the held wraps that are not among those of `look`, but have not been removed: such an object
// is damaged, or nobody could read it now. Without that, a damaged wrap of another passphrase would
// be forgotten, here and in every backup from now on, because its object is no wrap any more.
// Those that are damaged are put back, if possible.
void KeepDamagedWraps(Store& store, const Environment& environment, const EntranceCopy& held,
                      const SealPolicy& policy, EntranceLook& look) {
  std::vector<NamedText>& copies = look.copy.key_wraps;
  for (const NamedText& wrap : held.key_wraps) {
    if (copies.size() >= limits::kKeyWrapsOfABackup ||
        std::ranges::any_of(
            copies, [&](const NamedText& copy) { return HoldSameWrap(copy.text, wrap.text); })) {
      continue;
    }
    const Result<Result<Bytes>> there = GetWrap(store, wrap.name);
    if (there && !*there && there->error().code == ErrorCode::kNotFound) {
      continue;  // it may have been removed on purpose
    }
    copies.push_back(wrap);
    const bool is_damaged =
        there && (*there ? AsText(**there) != wrap.text && IsDamagedObject(*there, policy)
                         : (*there).error().code == ErrorCode::kDataCorrupted);
    if (!is_damaged) {
      continue;
    }
    const Result<std::optional<std::string>> put =
        PutBesideDamaged(store, held.key_id, wrap, policy, *environment.random);
    if (!put) {
      continue;  // it is held, and tried again at the next look
    }
    if (*put) {
      copies.back().name = **put;
      look.put_back.push_back(**put);
    } else {
      copies.pop_back();
    }
  }
}

// Whether a missing part of the entrance can cause an error of this code.
bool MayBeLost(ErrorCode code) {
  return code == ErrorCode::kDataCorrupted || code == ErrorCode::kPermissionDenied ||
         code == ErrorCode::kFailedPrecondition || code == ErrorCode::kConflict ||
         code == ErrorCode::kWrongKey;
}

// The result of a search for a wrap of a key.
struct WrapSearch {
  std::optional<OpenedKey> opened;
  std::size_t count = 0;  // objects under the name of the key's wraps, as far as they are looked at
  std::size_t tried = 0;  // wraps that the passphrase does not open
  bool has_more_to_try = false;  // there are more wraps than may be tried
  bool is_cut = false;           // there are more objects than are looked at
  std::optional<Error> damaged;  // the last object that is no wrap of the key
};

Result<WrapSearch> SearchWraps(Store& store, const std::string& key_id,
                               const RepositoryOptions& options, const Cancellation& cancellation) {
  ASSIGN_OR_RETURN(const FirstObjects wraps, ListOldestWraps(store, KeyWrapName(key_id, "")));
  WrapSearch search;
  search.count = wraps.objects.size();
  search.is_cut = wraps.more;
  for (const ObjectInfo& wrap : wraps.objects) {
    RETURN_IF_ERROR(cancellation.Check());
    if (search.tried == limits::kKeyWrapsTried) {
      search.has_more_to_try = true;
      return search;
    }
    ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store, wrap));
    if (!text) {
      search.damaged = text.error();
      continue;
    }
    const NamedText object{wrap.name, std::string(AsText(*text))};
    Result<DataKey> key = UnwrapOwn(store, key_id, object, options.passphrase.text());
    if (key) {
      search.opened = OpenedKey{*std::move(key), object};
      return search;
    }
    if (key.error().code == ErrorCode::kWrongKey) {
      ++search.tried;
    } else {
      search.damaged = std::move(key.error());
    }
  }
  return search;
}

// The error for a missing identity of a repository that was opened with `key_id`. The hint promises
// that the identity is put back only if PutBack would do so.
Status LostSinceOpened(Store& store, const std::string& name, const std::string& key_id) {
  const std::string lost = fmt::format(
      "repository \"{}\" has lost its identity: there is no object \"{}\"", store.location(), name);
  ASSIGN_OR_RETURN(const std::vector<NamedText> objects, ReadDamagedIdentities(store));
  for (const NamedText& object : objects) {
    const Result<Identity> identity = ParseUnverifiedIdentity(object);
    if (identity && identity->key_id != key_id) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "{}; object \"{}\" names {}, but the repository was opened with {}", lost,
                       object.name, KeyInWords(identity->key_id), KeyInWords(key_id))
          .WithHint(kWhichKey);
    }
  }
  ASSIGN_OR_RETURN(const std::string wrap, WrapOfOtherKey(store, key_id));
  if (objects.empty() && !wrap.empty()) {
    return MakeError(
               ErrorCode::kFailedPrecondition,
               "{}; object \"{}\" belongs to another key than the one with which it was opened",
               lost, wrap)
        .WithHint(kWhichKey);
  }
  return MakeError(ErrorCode::kFailedPrecondition, "{}", lost).WithHint(kHowToPutBack);
}

}  // namespace

Result<std::vector<NamedText>> ReadIdentities(Store& store, bool encrypted) {
  ASSIGN_OR_RETURN(std::vector<NamedText> identities, ReadIdentityObjects(store));
  if (!identities.empty()) {
    return identities;
  }
  ASSIGN_OR_RETURN(const std::string first, FirstUse(store));
  if (first.empty()) {
    return identities;
  }
  // Between the two requests another process may have created the repository and begun to use it.
  ASSIGN_OR_RETURN(identities, ReadIdentityObjects(store));
  if (!identities.empty()) {
    return identities;
  }
  ASSIGN_OR_RETURN(const bool has_wraps, HoldsObject(store, kKeyPrefix));
  return LostIdentity(store, first, encrypted && !has_wraps);
}

Result<std::vector<NamedText>> ReadDamagedIdentities(Store& store) {
  ASSIGN_OR_RETURN(std::vector<ObjectInfo> listed, ListIdentities(store));
  std::vector<NamedText> objects;
  for (ObjectInfo& object : listed) {
    const Result<Bytes> content = GetListed(store, object, limits::kIdentity);
    if (!content && content.error().code != ErrorCode::kDataCorrupted) {
      return content.error();
    }
    objects.push_back({std::move(object.name), content ? std::string(AsText(*content)) : ""});
  }
  return objects;
}

bool IsDamagedDocument(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kPermissionDenied;
}

Result<Result<Bytes>> GetWrap(Store& store, const ObjectInfo& listed) {
  return UnlessOfTheStore(GetListed(store, listed, limits::kKeyWrap));
}

Result<Result<Bytes>> GetWrap(Store& store, std::string_view name) {
  return UnlessOfTheStore(GetSmall(store, name, limits::kKeyWrap));
}

Result<OpenedKey> FindKey(Store& store, const std::string& key_id, const RepositoryOptions& options,
                          const Cancellation& cancellation) {
  ASSIGN_OR_RETURN(std::optional<OpenedKey> first, TryFirst(store, key_id, options));
  if (first) {
    return *std::move(first);
  }
  ASSIGN_OR_RETURN(WrapSearch search, SearchWraps(store, key_id, options, cancellation));
  if (search.opened) {
    return *std::move(search.opened);
  }
  if (search.count == 0) {
    return LostKey(store, key_id);
  }
  if (search.has_more_to_try) {
    return TooManyWraps(store, key_id, search.count);
  }
  if (search.is_cut) {
    return TooManyObjects(store, KeyWrapName(key_id, ""), limits::kKeyWraps);
  }
  // The object may be anybody's junk. So it does not hide that the passphrase opens no true wrap.
  return search.damaged && search.tried == 0 ? *search.damaged
                                             : WrongPassphrase(store, search.damaged);
}

Result<bool> HasRoomForWrap(Store& store, const std::string& key_id,
                            const RepositoryOptions& options, const Cancellation& cancellation) {
  ASSIGN_OR_RETURN(const WrapSearch search, SearchWraps(store, key_id, options, cancellation));
  return search.tried < limits::kKeyWrapsTried && search.count < limits::kKeyWraps;
}

Error EmptiedRepository(const Store& store) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" is empty, but this server has archived to it before",
                   store.location())
      .WithHint(
          "Either all its objects were deleted, or this is another place: a file system that is "
          "not mounted, or the credentials of another account. To start anew in it, run SELECT "
          "veza_backup_init() and take a full backup.");
}

Status ReplaceDamagedIdentity(Store& store, const NamedText& damaged, std::string_view text) {
  const Result<Bytes> there = GetSmall(store, damaged.name, limits::kIdentity);
  if (!there && there.error().code == ErrorCode::kNotFound) {
    return PutSmallOnce(store, damaged.name, AsBytes(text));
  }
  if (!there && there.error().code != ErrorCode::kDataCorrupted) {
    return there.error();
  }
  if (there && AsText(*there) != damaged.text) {
    return Ok();
  }
  return PutSmall(store, damaged.name, AsBytes(text), PutMode::kReplace);
}

Result<std::string> PutKeyWrap(Store& store, const std::string& key_id, const NamedText& wrap,
                               Random& random) {
  std::string name = wrap.name;
  if (name.starts_with(KeyWrapName(key_id, ""))) {
    const Status put = PutSmall(store, name, AsBytes(wrap.text), PutMode::kCreate);
    if (put) {
      return name;
    }
    if (put.error().code != ErrorCode::kAlreadyExists) {
      return put.error();
    }
    const Result<Bytes> there = GetSmall(store, name, limits::kKeyWrap);
    // An object that is too large is another one.
    if (!there && there.error().code != ErrorCode::kDataCorrupted) {
      return there.error();
    }
    if (there && AsText(*there) == wrap.text) {
      return name;
    }
  }
  std::array<std::uint8_t, 8> wrap_id;
  random.Fill(wrap_id);
  name = KeyWrapName(key_id, ToHex(wrap_id));
  RETURN_IF_ERROR(PutSmall(store, name, AsBytes(wrap.text), PutMode::kCreate));
  return name;
}

EntranceCopy CopyEntrance(const Repository& repository, const std::string& service,
                          TimePoint seen) {
  return {.location = repository.store().location(),
          .service = service,
          .identities = repository.identity_objects(),
          .key_wraps = repository.key_wraps(),
          .key_id = repository.identities().front().key_id,
          .seen = seen};
}

Result<EntranceLook> KeepEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& given, const Environment& environment,
                                  std::uint64_t system_identifier,
                                  const std::optional<EntranceCopy>& held) {
  RepositoryOptions options = given;
  RETURN_IF_ERROR(TellPassphrase(options, environment));
  Result<OpenedEntrance> opened =
      OpenEntrance(store, service, options, environment, system_identifier);
  const bool knows_it = held && held->location == store->location() && held->service == service;
  if (opened && (!knows_it || opened->copy.key_id == held->key_id)) {
    EntranceLook look{std::move(opened->copy), {}};
    if (knows_it) {
      KeepDamagedWraps(*store, environment, *held, opened->policy, look);
    }
    return look;
  }
  if (!knows_it || (!opened && !MayBeLost(opened.error().code))) {
    return opened.error();
  }
  EntranceLook look;
  ASSIGN_OR_RETURN(look.put_back,
                   PutBack(*store, options, environment, *held).Run(system_identifier));
  ASSIGN_OR_RETURN(OpenedEntrance mended,
                   OpenEntrance(store, service, options, environment, system_identifier));
  look.copy = std::move(mended.copy);
  return look;
}

namespace {

// Checks that the identity that is stored now names the key that the repository was opened with,
// and is signed by it.
Status RequireSameKey(const Repository& repository, const NamedText& object) {
  ASSIGN_OR_RETURN(const Identity now, ParseUnverifiedIdentity(object));
  const std::string& ours = repository.identities().front().key_id;
  if (now.key_id == ours) {
    RETURN_IF_ERROR(ParseIdentity(object, repository.seal_policy()));
    return Ok();
  }
  return MakeError(ErrorCode::kWrongKey, "repository \"{}\" now has {}, but was opened with {}",
                   repository.store().location(), KeyInWords(now.key_id), KeyInWords(ours))
      .WithHint("The server opens the repository again, and continues if it accepts the new key.");
}

}  // namespace

Status RequireIdentityInPlace(const Repository& repository, std::uint64_t system_identifier) {
  const Store& store = repository.store();
  const std::string name = IdentityName(system_identifier);
  const Result<Bytes> text = GetSmall(repository.store(), name, limits::kIdentity);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    ASSIGN_OR_RETURN(const std::string first, FirstUse(repository.store()));
    if (first.empty()) {
      return EmptiedRepository(store);
    }
    return LostSinceOpened(repository.store(), name, repository.identities().front().key_id);
  }
  RETURN_IF_ERROR(text);
  return RequireSameKey(repository, {name, std::string(AsText(*text))});
}

Status RequireRepositoryInPlace(const Repository& repository, std::uint64_t system_identifier) {
  const std::string name = IdentityName(system_identifier);
  const Result<Bytes> text = GetSmall(repository.store(), name, limits::kIdentity);
  if (text) {
    return RequireSameKey(repository, {name, std::string(AsText(*text))});
  }
  // For a bucket that was deleted, the code is kFailedPrecondition.
  if (text.error().code != ErrorCode::kNotFound &&
      text.error().code != ErrorCode::kFailedPrecondition) {
    return text.error();
  }
  return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" can no longer be found: {}",
                   repository.store().location(), text.error().message)
      .WithHint(
          "Its file system is not mounted, its directory was moved, or its bucket or its identity "
          "was deleted. Its other objects may still exist. Make the repository accessible again, "
          "and try again.");
}

Status RequireWrapInPlace(const Repository& repository) {
  if (repository.key_wraps().empty()) {
    return Ok();
  }
  const NamedText& ours = repository.key_wraps().front();
  ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(repository.store(), ours.name));
  if (text && AsText(*text) == ours.text) {
    return Ok();
  }
  RETURN_IF_ERROR(FindKey(repository.store(), repository.identities().front().key_id,
                          repository.options(), *repository.environment().cancellation));
  return Ok();
}

Status RequireKeyInPlace(const Repository& repository, std::uint64_t system_identifier) {
  RETURN_IF_ERROR(RequireIdentityInPlace(repository, system_identifier));
  return RequireWrapInPlace(repository);
}

Result<bool> HoldsOnlyNewWal(Store& store, std::uint64_t system_identifier, std::size_t own) {
  ASSIGN_OR_RETURN(const bool has_backup, HoldsObject(store, kBackupPrefix));
  if (has_backup) {
    return false;
  }
  ASSIGN_OR_RETURN(const FirstObjects wal,
                   ListFirst(store, WalSystemPrefix(system_identifier), own));
  return !wal.more;
}

}  // namespace veza
