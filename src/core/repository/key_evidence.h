// Finds out which keys the WAL files in a repository were sealed with.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

struct WalEvidence {
  // The names of the objects that each key has authenticated, by key id. A key that has opened none
  // is not listed.
  std::map<std::string, std::vector<std::string>> opened;
  // The objects that no key opens: damaged, junk, or sealed with an unknown key. They prove
  // nothing.
  std::vector<std::string> unopened;
};

// Tests some of the oldest and some of the newest WAL objects of the system, by the store's time. A
// key has sealed an object if it opens the object's beginning under the object's own name. No
// single object may decide, because anybody who can write to the store can add one. `keys`: by key
// id.
Result<WalEvidence> LookAtWal(Store& store, std::uint64_t system_identifier,
                              const std::map<std::string, SealPolicy>& keys,
                              const Cancellation& cancellation);

}  // namespace veza
