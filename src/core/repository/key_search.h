// Finds the keys of a repository that the passphrase opens: in a wrap that the user has given, in
// the wraps below key/, and in the copies in backups.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/codec/key.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"
#include "core/storage/store.h"

namespace veza {

// How many keys may be preferred in a search.
inline constexpr std::size_t kPreferredKeys = 8;

struct FoundWrap {
  NamedText wrap;
  std::string source;  // in words
};

struct KeySearch {
  const std::optional<std::string>& wrap;  // the text of a wrap that the user has given
  std::set<std::string> preferred;         // key ids whose wraps are tried before others
  const std::vector<std::string>& labels;  // of the backups to look into, oldest first
};

struct KeyOfWrap {
  std::shared_ptr<const DataKey> key;
  FoundWrap wrap;  // the first wrap that holds it
};

struct KeysOfWraps {
  std::map<std::string, KeyOfWrap> keys;  // by key id
  std::size_t passed_over = 0;            // wraps that were not tried, because of a limit
};

Result<KeysOfWraps> SearchKeys(Store& store, const RepositoryOptions& options,
                               const Environment& environment, const KeySearch& search);

// The labels of every backup and tombstone, oldest first.
Result<std::vector<std::string>> ListBackupLabels(Store& store);

// The stored text of backup.json. nullopt when there is none; empty when the object is too large.
Result<std::optional<std::string>> ReadBackupText(Store& store, const std::string& label);

}  // namespace veza
