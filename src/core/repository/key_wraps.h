// The passphrases of a repository: each has a wrap of the one data key (FORMAT.md section 2).
#pragma once

#include <string>
#include <string_view>
#include <vector>

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
  NamedText object;
  std::string id;    // the wrap id in the object's name
  std::string name;  // what its maker has called it; empty if it has no name, or is not proven
  std::string node;  // who made it; empty if it is not proven
  TimePoint stored;  // by the store's clock
  State state = State::kUnusable;
  std::string problem;               // for kUnusable
  std::vector<std::string> backups;  // labels of the backups that hold a copy, oldest first
};

// A wrap that the key signs, so that those who know another passphrase can tell that it is true.
// `name` is for people, and may be empty.
Result<std::string> MakeSignedWrap(const DataKey& key, std::string_view passphrase,
                                   std::string_view name, const std::string& node, TimePoint now,
                                   Random& random);

// The wrap, signed. Of a wrap that the key has not signed only the members of FORMAT.md stay.
Result<std::string> SignWrap(const DataKey& key, std::string_view text, std::string_view name);

// All wraps of the repository's key, oldest first. kFailedPrecondition when it is not encrypted.
Result<std::vector<KeyWrapInfo>> ListKeyWraps(const Repository& repository);

// The wraps that a backup and a running server keep a copy of: the one in use first, then those
// that the key has signed, oldest first; at most limits::kKeyWrapsOfABackup. None with cipher none.
Result<std::vector<NamedText>> WrapsToCopy(const Repository& repository);

struct AddedPassphrase {
  std::string wrap_id;
  bool is_new = false;  // otherwise the passphrase has opened the repository before
  std::string name;     // of the passphrase; if it is not new, the one that it has had
};
// Makes a wrap for another passphrase, stores it and opens it again. kFailedPrecondition when there
// are as many passphrases as a backup keeps; kAlreadyExists when another wrap has the name;
// kInvalidArgument for a name that cannot be used.
Result<AddedPassphrase> AddPassphrase(const Repository& repository, std::string_view passphrase,
                                      const std::string& name);

// Removes the wrap with that id or name, under the cluster's lock, so that two removals at once
// cannot leave none. The wrap in use is never removed, and right before the removal it must be in
// place. If it has gone after it, or if that cannot be told, the removed one is put back. Returns
// the removed wrap.
//
// kNotFound, kInvalidArgument (several have the name), kFailedPrecondition (it is the one in use,
// the lock is held), kDataCorrupted and kWrongKey (the wrap in use is gone), and those of the
// store. The message says "the passphrase was not removed", or that this is not certain.
Result<KeyWrapInfo> RemovePassphrase(const Repository& repository, const std::string& id_or_name);

// The wrap with that id or name. Errors as above.
Result<KeyWrapInfo> FindKeyWrap(const Repository& repository, const std::string& id_or_name);

}  // namespace veza
