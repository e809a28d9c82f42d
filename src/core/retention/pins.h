// Pins: backups that retention must leave alone (FORMAT.md section 9).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"

namespace veza {

// The labels that have a pin, whether or not there is such a backup.
Result<std::set<std::string>> ReadPins(const Repository& repository);

// Pinning a pinned backup and unpinning an unpinned one succeed. kNotFound or kInvalidArgument,
// with a hint, when the backup does not exist. A pin without its backup can still be removed.
// PinBackup() takes only a pin back that it has made itself, and only when the backup has gone:
// after another error the backup may be there, and the pin stays.
Status PinBackup(const Repository& repository, const std::string& label);
struct PinUnderLock {
  // Why the lock was not held all the time, for example the work of another node. Then an expiry
  // may have looked for pins just before this one was there, and may still remove the backup.
  std::optional<Error> not_locked{};
  // Why the lock was not released: other nodes wait until it has ended.
  std::optional<Error> not_released{};
};
// The same under the cluster's lock, if it can be taken. The backup is pinned in any case.
Result<PinUnderLock> PinBackupUnderLock(const Repository& repository, const std::string& label);
Status UnpinBackup(const Repository& repository, const std::string& label);

// Whether the backup, or a diff or incr of this full, has a pin now.
Result<bool> IsPinned(const Repository& repository, const std::string& label);

// Marks the backups as named by an incr (NamedMarkName), before the incr is committed, and their
// full. For nodes of version 0.1: retention here goes by backup.json.
Status MarkAsNamed(const Repository& repository, const std::vector<SourceBackup>& sources);

}  // namespace veza
