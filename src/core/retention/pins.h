// Pins: backups that retention must leave alone (FORMAT.md section 9).
#pragma once

#include <set>
#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

// The labels that have a pin, whether or not there is such a backup.
Result<std::set<std::string>> ReadPins(const Repository& repository);

// Pinning a pinned backup and unpinning an unpinned one succeed. kNotFound or kInvalidArgument,
// with a hint, when the backup does not exist. A pin without its backup can still be removed.
Status PinBackup(const Repository& repository, const std::string& label);
Status UnpinBackup(const Repository& repository, const std::string& label);

// Whether the backup, or a diff that needs it, has a pin now.
Result<bool> IsPinned(const Repository& repository, const std::string& label);

}  // namespace veza
