// What WAL in a repository says of the key that it needs.
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
  // Names of objects by the id of the key that has authenticated them; of no key that has opened
  // nothing.
  std::map<std::string, std::vector<std::string>> opened;
  // That no key opens: damage, junk, or of a key that is not known. They say nothing.
  std::vector<std::string> unopened;
};

// Looks at some of the oldest and some of the newest WAL objects of the system, by the store's
// time. A key has sealed one when it opens the beginning under the object's own name. One object
// never decides: anybody can put one there, of any content. `keys`: by their ids.
Result<WalEvidence> LookAtWal(Store& store, std::uint64_t system_identifier,
                              const std::map<std::string, SealPolicy>& keys,
                              const Cancellation& cancellation);

}  // namespace veza
