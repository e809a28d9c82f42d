#include "core/repository/key_wraps.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/entrance.h"
#include "core/repository/key_search.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr std::size_t kLongestName = 64;
constexpr std::size_t kWrapIdDigits = 16;

// A signature holds whatever name the object has: a wrap that is put back may get a new one.
std::string SignedAs(const std::string& key_id) {
  return fmt::format("{}{}", kKeyPrefix, key_id);
}

// The form of the ids that we make. Others, which anybody may choose, must not look like a name.
bool IsWrapId(std::string_view text) {
  return text.size() == kWrapIdDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Status RequireName(const std::string& name) {
  const auto is_allowed = [](char c) {
    return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-';
  };
  if (name.size() <= kLongestName && std::ranges::all_of(name, is_allowed) && !IsWrapId(name)) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument, "\"{}\" cannot be the name of a passphrase", name)
      .WithHint(
          "Use at most 64 letters, digits, dots, underscores and hyphens, but not 16 hexadecimal "
          "digits, which would look like an id.");
}

Status RequireKey(const Repository& repository) {
  if (repository.seal_policy().key) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" is not encrypted, and has no passphrases",
                   repository.store().location());
}

bool IsSigned(const SealPolicy& policy, std::string_view wrap) {
  return OpenDocument(wrap, policy, SignedAs(policy.key->hex_id())).has_value();
}

// How the objects of the repository are encrypted does not matter for a signature.
SealPolicy PolicyOf(const DataKey& key) {
  return {Cipher::kAes256Gcm, std::make_shared<const DataKey>(key)};
}

// The name in a signed wrap. Empty if it has none.
std::string NameIn(std::string_view signed_wrap) {
  const std::optional<Json> wrap = ParseJsonObject(signed_wrap, {.size = limits::kKeyWrap});
  return wrap ? StringMember(*wrap, "name").value_or("") : "";
}

// Fills in what the wrap is. `in_use`: by which the repository was opened.
void Judge(const SealPolicy& policy, const NamedText& in_use, KeyWrapInfo& info) {
  const std::string key_id = policy.key->hex_id();
  Result<Bytes> packed = PackWrap(info.object.text);
  if (!packed) {
    info.problem = packed.error().message;
    return;
  }
  const std::optional<Json> wrap = ParseJsonObject(info.object.text, {.size = limits::kKeyWrap});
  if (!wrap || StringMember(*wrap, "key_id") != key_id) {
    info.problem = "it is the wrap of another key";
    return;
  }
  info.packed = *std::move(packed);
  const bool is_signed = IsSigned(policy, info.object.text);
  const bool is_in_use = info.object == in_use;
  if (!is_signed && !is_in_use && wrap->Find("mac") != nullptr) {
    info.problem = "the key has not signed it, or it was changed since";
    return;
  }
  info.state = is_in_use   ? KeyWrapInfo::State::kInUse
               : is_signed ? KeyWrapInfo::State::kSigned
                           : KeyWrapInfo::State::kUnsigned;
  if (is_signed) {
    info.name = NameIn(info.object.text);
  }
  if (is_signed || is_in_use) {
    info.node = StringMember(*wrap, "node").value_or("");
  }
}

// States are declared in the order in which one of several is preferred.
void NameCopies(std::vector<KeyWrapInfo>& wraps) {
  std::map<Bytes, const KeyWrapInfo*> best;
  for (const KeyWrapInfo& wrap : wraps) {
    const KeyWrapInfo*& known = best[wrap.packed];
    if (known == nullptr || wrap.state < known->state) {
      known = &wrap;
    }
  }
  for (KeyWrapInfo& wrap : wraps) {
    const KeyWrapInfo* const known = best[wrap.packed];
    if (!wrap.packed.empty() && known != &wrap) {
      wrap.copy_of = known->id;
    }
  }
}

bool IsProven(const KeyWrapInfo& wrap) {
  return wrap.state == KeyWrapInfo::State::kInUse || wrap.state == KeyWrapInfo::State::kSigned;
}

struct WrapsRead {
  std::vector<KeyWrapInfo> wraps;  // oldest first, without the backups that hold copies
  bool more = false;               // there are more objects than were to be read
};

Result<WrapsRead> ReadWraps(const Repository& repository, std::size_t most) {
  const std::string prefix = KeyWrapName(repository.seal_policy().key->hex_id(), "");
  ASSIGN_OR_RETURN(FirstObjects listed, ListOldestWraps(repository.store(), prefix));
  WrapsRead read;
  read.more = listed.more || listed.objects.size() > most;
  listed.objects.resize(std::min(listed.objects.size(), most));
  for (const ObjectInfo& object : listed.objects) {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(repository.store(), object));
    if (!text && text.error().code == ErrorCode::kNotFound) {
      continue;  // it was removed since it was listed
    }
    KeyWrapInfo info;
    info.object = {object.name, text ? std::string(AsText(*text)) : ""};
    info.id = object.name.substr(prefix.size());
    info.stored = object.modified;
    if (text) {
      Judge(repository.seal_policy(), repository.key_wraps().front(), info);
    } else {
      info.problem = text.error().message;
    }
    if (!IsProven(info)) {
      info.object.text.clear();
    }
    read.wraps.push_back(std::move(info));
  }
  NameCopies(read.wraps);
  return read;
}

// A copy may have been signed since, so the texts need not be equal.
Status CountCopies(const Repository& repository, std::vector<KeyWrapInfo>& wraps) {
  std::map<Bytes, std::vector<std::string>> holders;
  for (const KeyWrapInfo& wrap : wraps) {
    holders[wrap.packed] = {};
  }
  holders.erase(Bytes());
  ASSIGN_OR_RETURN(const std::vector<std::string> labels, ListBackupLabels(repository.store()));
  for (const std::string& label : labels) {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    ASSIGN_OR_RETURN(const std::optional<std::string> text,
                     ReadBackupText(repository.store(), label));
    for (const NamedText& copy : UnverifiedKeyWraps(text.value_or(""))) {
      const Result<Bytes> packed = PackWrap(copy.text);
      const auto found = packed ? holders.find(*packed) : holders.end();
      if (found != holders.end() && (found->second.empty() || found->second.back() != label)) {
        found->second.push_back(label);
      }
    }
  }
  for (KeyWrapInfo& wrap : wraps) {
    if (const auto found = holders.find(wrap.packed); found != holders.end()) {
      wrap.backups = found->second;
    }
  }
  return Ok();
}

Result<KeyWrapInfo> Choose(const std::vector<KeyWrapInfo>& wraps, const std::string& id_or_name) {
  const KeyWrapInfo* chosen = nullptr;
  for (const KeyWrapInfo& wrap : wraps) {
    if ((wrap.id == id_or_name && IsWrapId(wrap.id)) || wrap.object.name == id_or_name) {
      return wrap;
    }
    if (wrap.name == id_or_name && !wrap.name.empty()) {
      if (chosen != nullptr) {
        return MakeError(ErrorCode::kInvalidArgument, "several passphrases have the name \"{}\"",
                         id_or_name)
            .WithHint("Give the id that \"vezactl key list\" shows.");
      }
      chosen = &wrap;
    }
  }
  if (chosen == nullptr) {
    return MakeError(ErrorCode::kNotFound, "there is no passphrase \"{}\"", id_or_name)
        .WithHint("\"vezactl key list\" shows the ids and names.");
  }
  return *chosen;
}

// Whether only this object is to be removed, and none that holds the same wrap. Nothing proves what
// it is: it may be the damaged one beside the good one that was stored for the same passphrase, or
// a stranger may have copied the good one there, so that its removal takes that along.
bool GoesAlone(const KeyWrapInfo& wrap) {
  return wrap.state == KeyWrapInfo::State::kUnusable ||
         (wrap.state == KeyWrapInfo::State::kUnsigned && !wrap.copy_of.empty());
}

// A server that has not looked since the object was damaged may still hold the wrap that lay there,
// and takes it for lost. While the object is there, the server would put back what is removed now.
Status RequireNothingToPutBack(const std::vector<KeyWrapInfo>& wraps, const std::string& what) {
  const auto unusable =
      std::ranges::find(wraps, KeyWrapInfo::State::kUnusable, &KeyWrapInfo::state);
  if (unusable == wraps.end()) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "passphrase \"{}\" cannot be removed while object \"{}\" is unusable: {}", what,
                   unusable->object.name, unusable->problem)
      .WithHint(
          "A running server may take this for the wrap that the object once was, and put it back. "
          "First remove all objects that \"vezactl key list\" shows as unusable, with \"vezactl "
          "key "
          "remove OBJECT\".");
}

// The options with another passphrase.
RepositoryOptions OptionsWith(const Repository& repository, std::string_view passphrase) {
  RepositoryOptions options = repository.options();
  options.passphrase = passphrase;
  options.passphrase_command.clear();
  options.first_wrap.clear();
  return options;
}

std::string IdOf(const NamedText& wrap) {
  return wrap.name.substr(wrap.name.rfind('.') + 1);
}

Error TooManyPassphrases(const Repository& repository) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" has as many passphrases as it can have",
                   repository.store().location())
      .WithHint(
          "\"vezactl key list\" shows them, and what else lies beside them. Remove what nobody "
          "needs "
          "with \"vezactl key remove\".");
}

// The wraps, if every backup will hold a copy of all that are proven, and of so many `more`.
Result<std::vector<KeyWrapInfo>> ReadWrapsWithRoom(const Repository& repository, std::size_t more) {
  ASSIGN_OR_RETURN(WrapsRead read, ReadWraps(repository, limits::kKeyWrapsLookedAt));
  const auto proven = static_cast<std::size_t>(std::ranges::count_if(
      read.wraps, [](const auto& wrap) { return IsProven(wrap) && wrap.copy_of.empty(); }));
  if (read.more || read.wraps.size() + more > limits::kKeyWrapsLookedAt ||
      proven + more > limits::kKeyWrapsOfABackup) {
    return TooManyPassphrases(repository);
  }
  return std::move(read.wraps);
}

Status RequireRoom(const Repository& repository, const RepositoryOptions& options,
                   const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<KeyWrapInfo> wraps, ReadWrapsWithRoom(repository, 1));
  ASSIGN_OR_RETURN(const bool has_room,
                   HasRoomForWrap(repository.store(), repository.seal_policy().key->hex_id(),
                                  options, *repository.environment().cancellation));
  if (!has_room) {
    return TooManyPassphrases(repository);
  }
  if (!name.empty() && std::ranges::find(wraps, name, &KeyWrapInfo::name) != wraps.end()) {
    return MakeError(ErrorCode::kAlreadyExists, "there is a passphrase \"{}\" already", name)
        .WithHint("Choose another name, or remove that one first.");
  }
  return Ok();
}

// The same wrap in an object that the key has signed, if there is one.
Result<std::optional<KeyWrapInfo>> SignedCopy(const Repository& repository, const NamedText& wrap) {
  ASSIGN_OR_RETURN(const Bytes packed, PackWrap(wrap.text));
  ASSIGN_OR_RETURN(std::vector<KeyWrapInfo> wraps, LookAtKeyWraps(repository));
  const auto found = std::ranges::find_if(wraps, [&](const KeyWrapInfo& one) {
    return one.packed == packed && IsSigned(repository.seal_policy(), one.object.text);
  });
  return found == wraps.end() ? std::nullopt : std::optional(std::move(*found));
}

// Stores a new wrap, and opens it: whoever relies on its passphrase one day may have no other.
Status StoreAndTry(const Repository& repository, const RepositoryOptions& options,
                   const NamedText& wrap) {
  const Environment& environment = repository.environment();
  const std::string& key_id = repository.identities().front().key_id;
  RETURN_IF_ERROR(PutKeyWrap(repository.store(), key_id, wrap, *environment.random));
  // Another node may have added one at the same moment. Both see that, and both give up.
  RETURN_IF_ERROR(ReadWrapsWithRoom(repository, 0));
  RETURN_IF_ERROR(FindKey(repository.store(), key_id, options, *environment.cancellation));
  return Ok();
}

// Deletes a wrap that was stored in vain, or may have been: a request that has failed may have been
// carried out. Returns the error to report.
Error TakeBack(const Repository& repository, const std::string& name, Error cause) {
  const Status deleted = repository.store().Delete(name);
  if (deleted) {
    return std::move(cause).WithContext("the passphrase was not added");
  }
  return MakeError(cause.code,
                   "it is not certain that the passphrase was not added: {}; object \"{}\" could "
                   "not be deleted: {}",
                   cause.message, name, deleted.error().message)
      .WithHint(
          "Run \"vezactl key list\" when the store answers again. If it shows the object, remove "
          "that with \"vezactl key remove\", or keep the passphrase.");
}

// Puts wraps back that were deleted, or may have been. Returns the error to report.
Error Undo(const Repository& repository, const std::vector<NamedText>& wraps, Error cause) {
  for (const NamedText& wrap : wraps) {
    const Result<std::string> put =
        PutKeyWrap(repository.store(), repository.seal_policy().key->hex_id(), wrap,
                   *repository.environment().random);
    if (!put) {
      return MakeError(cause.code,
                       "it is not certain that the passphrase was removed, and that the one in the "
                       "configuration still opens the repository: {}; object \"{}\" could not be "
                       "put back: {}",
                       cause.message, wrap.name, put.error().message)
          .WithHint(
              "Run \"vezactl key list\" when the store answers again. If it fails, no passphrase "
              "may be left: a running server puts the wraps back, and otherwise \"vezactl key "
              "restore\" does.");
    }
  }
  return std::move(cause).WithContext("the passphrase was not removed");
}

// Deletes the objects. If afterwards the wrap in use is not in place, or nobody can tell, those
// that could be read are put back.
Status DeleteWraps(const Repository& repository, const std::vector<std::string>& names,
                   ClusterLock& lock) {
  Store& store = repository.store();
  std::vector<NamedText> wraps;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store, name));
    if (text) {
      wraps.push_back({name, std::string(AsText(*text))});
    }
  }
  RETURN_IF_ERROR(RequireWrapInPlace(repository));
  RETURN_IF_ERROR(lock.RequireHeld());
  Status done;
  for (auto name = names.begin(); done && name != names.end(); ++name) {
    done = store.Delete(*name);  // a request that has failed may have been carried out
  }
  if (done) {
    done = RequireWrapInPlace(repository);
  }
  return done ? Ok() : Status(Undo(repository, wraps, std::move(done.error())));
}

Result<RemovedPassphrase> RemoveUnder(ClusterLock& lock, const Repository& repository,
                                      const std::string& id_or_name) {
  ASSIGN_OR_RETURN(WrapsRead read, ReadWraps(repository, limits::kKeyWraps));
  if (read.more) {  // some may hold the same wrap
    return TooManyObjects(repository.store(),
                          KeyWrapName(repository.seal_policy().key->hex_id(), ""),
                          limits::kKeyWraps);
  }
  RETURN_IF_ERROR(CountCopies(repository, read.wraps));
  RemovedPassphrase removed;
  ASSIGN_OR_RETURN(removed.wrap, Choose(read.wraps, id_or_name));
  if (removed.wrap.object.name == repository.key_wraps().front().name) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "passphrase \"{}\" is the one that this configuration uses", id_or_name)
        .WithHint(
            "Only another passphrase can remove it. Put that into the configuration of every node "
            "first, and run the command with it.");
  }
  const Bytes& packed = removed.wrap.packed;
  const bool is_ours = PackWrap(repository.key_wraps().front().text) == packed;
  const bool goes_alone = is_ours || GoesAlone(removed.wrap);
  if (!goes_alone) {
    RETURN_IF_ERROR(RequireNothingToPutBack(read.wraps, id_or_name));
  }
  removed.objects = {removed.wrap.object.name};
  removed.still_opens = is_ours ? repository.key_wraps().front().name : "";
  for (const KeyWrapInfo& wrap : read.wraps) {
    if (packed.empty() || wrap.packed != packed || wrap.object.name == removed.objects.front()) {
      continue;
    }
    if (!goes_alone) {
      removed.objects.push_back(wrap.object.name);
    } else if (removed.still_opens.empty() || (!is_ours && wrap.copy_of.empty())) {
      removed.still_opens = wrap.object.name;
    }
  }
  RETURN_IF_ERROR(DeleteWraps(repository, removed.objects, lock));
  return removed;
}

}  // namespace

Result<std::string> SignWrap(const DataKey& key, std::string_view text, std::string_view name) {
  std::optional<Json> wrap = ParseJsonObject(text, {.size = limits::kKeyWrap});
  if (!wrap) {
    return MakeError(ErrorCode::kDataCorrupted, "a key wrap cannot be signed: it is not JSON");
  }
  const SealPolicy policy = PolicyOf(key);
  if (IsSigned(policy, text)) {
    return std::string(text);
  }
  Json members = Json::Object();
  for (const char* const member : {"format", "key_id", "kdf", "n", "r", "p", "salt", "cipher",
                                   "nonce", "wrapped", "node", "created"}) {
    if (const Json* const value = wrap->Find(member)) {
      members[member] = *value;
    }
  }
  if (!name.empty()) {
    members["name"] = std::string(name);
  }
  return SignDocument(std::move(members), policy, SignedAs(key.hex_id()));
}

Result<bool> HoldsSignedWrap(Store& store, const DataKey& key, const Cancellation& cancellation) {
  const SealPolicy policy = PolicyOf(key);
  ASSIGN_OR_RETURN(FirstObjects listed, ListOldestWraps(store, KeyWrapName(key.hex_id(), "")));
  listed.objects.resize(std::min(listed.objects.size(), limits::kKeyWrapsLookedAt));
  for (const ObjectInfo& object : listed.objects) {
    RETURN_IF_ERROR(cancellation.Check());
    ASSIGN_OR_RETURN(const Result<Bytes> text, GetWrap(store, object));
    if (text && IsSigned(policy, AsText(*text))) {
      return true;
    }
  }
  return false;
}

Result<std::string> MakeSignedWrap(const DataKey& key, std::string_view passphrase,
                                   std::string_view name, const std::string& node, TimePoint now,
                                   Random& random) {
  ASSIGN_OR_RETURN(const std::string wrap, WrapKey(key, passphrase, node, now, random));
  return SignWrap(key, wrap, name);
}

Result<std::vector<KeyWrapInfo>> ListKeyWraps(const Repository& repository) {
  RETURN_IF_ERROR(RequireKey(repository));
  ASSIGN_OR_RETURN(WrapsRead read, ReadWraps(repository, limits::kKeyWraps));
  RETURN_IF_ERROR(CountCopies(repository, read.wraps));
  return std::move(read.wraps);
}

Result<std::vector<KeyWrapInfo>> LookAtKeyWraps(const Repository& repository) {
  if (!repository.seal_policy().key) {
    return std::vector<KeyWrapInfo>();
  }
  ASSIGN_OR_RETURN(WrapsRead read, ReadWraps(repository, limits::kKeyWrapsLookedAt));
  return std::move(read.wraps);
}

bool IsUnusableWrap(const SealPolicy& policy, std::string_view text) {
  KeyWrapInfo info;
  info.object.text = text;
  Judge(policy, {}, info);
  return info.state == KeyWrapInfo::State::kUnusable;
}

bool IsDamagedWrap(const KeyWrapInfo& wrap) {
  return wrap.state == KeyWrapInfo::State::kUnusable && wrap.copy_of.empty();
}

Result<KeyWrapInfo> FindKeyWrap(const Repository& repository, const std::string& id_or_name) {
  RETURN_IF_ERROR(RequireKey(repository));
  ASSIGN_OR_RETURN(const WrapsRead read, ReadWraps(repository, limits::kKeyWraps));
  return Choose(read.wraps, id_or_name);
}

Result<std::vector<NamedText>> WrapsToCopy(const Repository& repository) {
  std::vector<NamedText> copies = repository.key_wraps();
  ASSIGN_OR_RETURN(std::vector<KeyWrapInfo> wraps, LookAtKeyWraps(repository));
  for (KeyWrapInfo& wrap : wraps) {
    if (wrap.state == KeyWrapInfo::State::kSigned && wrap.copy_of.empty() &&
        copies.size() < limits::kKeyWrapsOfABackup) {
      copies.push_back(std::move(wrap.object));
    }
  }
  return copies;
}

Result<AddedPassphrase> AddPassphrase(const Repository& repository, std::string_view passphrase,
                                      const std::string& name) {
  RETURN_IF_ERROR(RequireKey(repository));
  RETURN_IF_ERROR(RequireName(name));
  const DataKey& key = *repository.seal_policy().key;
  const Environment& environment = repository.environment();
  const RepositoryOptions options = OptionsWith(repository, passphrase);
  const Result<OpenedKey> known =
      FindKey(repository.store(), key.hex_id(), options, *environment.cancellation);
  if (known && IsSigned(repository.seal_policy(), known->wrap.text)) {
    return AddedPassphrase{IdOf(known->wrap), false, NameIn(known->wrap.text)};
  }
  if (!known && IsOfTheStore(known.error())) {
    return known.error();
  }
  if (known) {
    ASSIGN_OR_RETURN(const std::optional<KeyWrapInfo> copy, SignedCopy(repository, known->wrap));
    if (copy) {
      return AddedPassphrase{copy->id, false, copy->name};
    }
  }
  RETURN_IF_ERROR(RequireRoom(repository, options, name));
  // A wrap of version 0.1 is not signed, so no backup but those of its own passphrase has a copy.
  ASSIGN_OR_RETURN(std::string text,
                   known ? SignWrap(key, known->wrap.text, name)
                         : MakeSignedWrap(key, passphrase, name, options.node,
                                          environment.clock->Now(), *environment.random));
  std::array<std::uint8_t, 8> id;
  environment.random->Fill(id);
  const NamedText wrap{KeyWrapName(key.hex_id(), ToHex(id)), std::move(text)};
  Status stored = StoreAndTry(repository, options, wrap);
  if (!stored) {
    return TakeBack(repository, wrap.name, std::move(stored.error()));
  }
  return AddedPassphrase{IdOf(wrap), true, name};
}

Result<RemovedPassphrase> RemovePassphrase(const Repository& repository,
                                           const std::string& id_or_name) {
  RETURN_IF_ERROR(RequireKey(repository));
  // Before the wraps are read: another holder may be storing or removing one.
  ASSIGN_OR_RETURN(const std::unique_ptr<ClusterLock> lock,
                   ClusterLock::Acquire(repository, {.purpose = "removal of a passphrase"}));
  Result<RemovedPassphrase> removed = RemoveUnder(*lock, repository, id_or_name);
  const bool is_cancelled = repository.environment().cancellation->cancelled();
  Status released = is_cancelled ? lock->ReleaseWithin(kReleasePatience) : lock->Release();
  if (removed && !released) {
    removed->not_released = std::move(released.error());
  }
  return removed;
}

}  // namespace veza
