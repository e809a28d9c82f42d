// The passphrases of a repository: each has a wrap of the one data key (FORMAT.md section 2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/codec/key.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

struct KeyWrapInfo {
  enum class State {
    kInUse,     // the wrap by which the repository was opened
    kSigned,    // the key has signed it: it is as its maker wrote it
    kUnsigned,  // a wrap of this key, by its own words; only its passphrase could tell
    kUnusable,  // damaged, or no wrap of this key
  };
  NamedText object;  // without the text if nothing proves the wrap: junk may be large
  Bytes packed;      // PackWrap(); empty if the object is no wrap
  std::string id;    // the wrap id in the object's name
  std::string name;  // what its maker has called it; empty if it has no name, or is not proven
  std::string node;  // who made it; empty if it is not proven
  TimePoint stored;  // by the store's clock
  State state = State::kUnusable;
  std::string problem;  // for kUnusable
  // The id of another object that holds the same wrap, and so opens with the same passphrase. Of
  // several, it is that of the one in use, or else of the oldest that is signed, or else of the
  // oldest. That one has no `copy_of`.
  std::string copy_of;
  std::vector<std::string> backups;  // labels of the backups that hold a copy, oldest first
};

// A wrap that the key signs, so that those who know another passphrase can tell that it is true.
// `name` is for people, and may be empty.
Result<std::string> MakeSignedWrap(const DataKey& key, std::string_view passphrase,
                                   std::string_view name, const std::string& node, TimePoint now,
                                   Random& random);

// The wrap, signed. Of a wrap that the key has not signed only the members of FORMAT.md stay.
Result<std::string> SignWrap(const DataKey& key, std::string_view text, std::string_view name);

// Whether there is a wrap that the key has signed, among the first limits::kKeyWrapsLookedAt
// objects.
Result<bool> HoldsSignedWrap(Store& store, const DataKey& key, const Cancellation& cancellation);

// All wraps of the repository's key, oldest first, at most limits::kKeyWraps. kFailedPrecondition
// when it is not encrypted.
Result<std::vector<KeyWrapInfo>> ListKeyWraps(const Repository& repository);

// The same without the backups, and at most limits::kKeyWrapsLookedAt. None with cipher none.
Result<std::vector<KeyWrapInfo>> LookAtKeyWraps(const Repository& repository);

// Whether an object with this text is kUnusable to everybody but those who have opened the
// repository by it. The policy has a key.
bool IsUnusableWrap(const SealPolicy& policy, std::string_view text);

// Whether the object is damaged, or nobody's wrap of this key: that of a passphrase that has no
// other may be lost.
bool IsDamagedWrap(const KeyWrapInfo& wrap);
inline constexpr const char* kDamagedWrapHint =
    "\"vezactl key list\" shows all wraps. If one of your passphrases has lost its good one, add "
    "it "
    "again with \"vezactl key add\". Then remove the damaged objects with \"vezactl key remove\".";

// The wraps that a backup and a running server keep a copy of: the one in use first, then those
// that the key has signed, oldest first, each once; at most limits::kKeyWrapsOfABackup of the first
// limits::kKeyWrapsLookedAt objects. None with cipher none.
Result<std::vector<NamedText>> WrapsToCopy(const Repository& repository);

struct AddedPassphrase {
  std::string wrap_id;
  bool is_new = false;  // otherwise the passphrase has opened the repository before
  std::string name;     // of the passphrase; if it is not new, the one that it has had
};
// Makes a wrap for another passphrase, stores it and opens it again. A passphrase whose wrap is not
// signed gets a signed one beside it, once. kFailedPrecondition when there are as many passphrases
// as a backup keeps, or too many other objects; kAlreadyExists when another wrap has the name;
// kInvalidArgument for a name that cannot be used. After an error no wrap is left, unless the
// message says that this is not certain.
Result<AddedPassphrase> AddPassphrase(const Repository& repository, std::string_view passphrase,
                                      const std::string& name);

struct RemovedPassphrase {
  KeyWrapInfo wrap;
  std::vector<std::string> objects;  // the names of those that were deleted
  std::string still_opens;  // the name of another object that holds the same wrap and stays, if any
  std::optional<Error> not_released;  // why the lock was not released; it ends by itself
};
// Removes the wrap with that id or name, and all other objects that hold the same wrap, under the
// cluster's lock, so that two removals at once cannot leave none. An object of which nothing proves
// that it is a true wrap goes alone: one that is kUnusable, and a copy that is kUnsigned. The
// object in use is never removed; of its copies only the one that was named. Right before the
// removal the wrap in use must be in place. If it has gone after it, or if that cannot be told,
// what was removed is put back.
//
// What does not go alone stays while any object is kUnusable. A running server that holds the wrap
// that was removed, and takes that object for it, would put it back (KeepEntrance()).
//
// kNotFound, kInvalidArgument (several have the name), kFailedPrecondition (it is the one in use,
// the lock is held, there are more than limits::kKeyWraps objects, there is one that is kUnusable),
// kDataCorrupted and kWrongKey
// (the wrap in use is gone), and those of the store. The message says "the passphrase was not
// removed", or that this is not certain.
Result<RemovedPassphrase> RemovePassphrase(const Repository& repository,
                                           const std::string& id_or_name);

// The wrap with that id or name. Errors as above.
Result<KeyWrapInfo> FindKeyWrap(const Repository& repository, const std::string& id_or_name);

}  // namespace veza
