// A directory as an object store. Objects are files below `root`; an object is written under a
// temporary name in the same directory, fsynced, and given its name by link(2), which never
// overwrites (rename(2) for kReplace); then the directory is fsynced. Left-over temporary files
// (".veza-tmp-…") are not objects and are never listed; those older than a day go with the last
// object of their directory. A directory without objects is removed.
//
// Now() and ObjectInfo::modified are by the environment's clock: hosts that share the directory
// over a network must have synchronised clocks. Local file operations have no deadline.
#pragma once

#include <memory>
#include <string>

#include "core/storage/store.h"

namespace veza {

// `root` is absolute. It is created (0700) with its parents on first write, not here.
Result<std::unique_ptr<Store>> MakeLocalStore(std::string root, Environment environment);

}  // namespace veza
