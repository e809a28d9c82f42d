// The keys of a repository that a passphrase opens: from a wrap that somebody has given, from those
// below key/, and from the copies in backups.
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
  const std::optional<std::string>& wrap;  // the text of one that somebody has given
  std::set<std::string> preferred;         // ids of keys whose wraps are tried before others
  const std::vector<std::string>& labels;  // of the backups to look into, oldest first
};

struct KeyOfWrap {
  std::shared_ptr<const DataKey> key;
  FoundWrap wrap;  // the first that gives it
};

struct KeysOfWraps {
  std::map<std::string, KeyOfWrap> keys;  // by key id
  std::size_t passed_over = 0;            // wraps that were not tried, because of a limit
};

Result<KeysOfWraps> SearchKeys(Store& store, const RepositoryOptions& options,
                               const Environment& environment, const KeySearch& search);

// The labels of every backup and tombstone, oldest first.
Result<std::vector<std::string>> ListBackupLabels(Store& store);

// The text of backup.json as it is stored. Nothing when there is none, and empty when it is too
// large to be one.
Result<std::optional<std::string>> ReadBackupText(Store& store, const std::string& label);

}  // namespace veza
