// Pins: backups that retention must leave alone (FORMAT.md section 9).
#pragma once

#include <set>
#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

// The labels that have a pin, whether or not there is such a backup.
Result<std::set<std::string>> ReadPins(const Repository& repository);

// Pinning what is pinned, and the opposite, is a success. A backup that does not exist is kNotFound
// or kInvalidArgument with a hint; a pin without its backup can be removed.
Status PinBackup(const Repository& repository, const std::string& label);
Status UnpinBackup(const Repository& repository, const std::string& label);

// Whether the backup, or a diff that needs it, has a pin at this moment.
Result<bool> IsPinned(const Repository& repository, const std::string& label);

}  // namespace veza
