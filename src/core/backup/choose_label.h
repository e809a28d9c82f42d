// The label of a new backup.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/names.h"
#include "core/repository/repository.h"

namespace veza {

struct LabelChoice {
  std::string label;
  // What the operator should know about the clocks, as messages for the log.
  std::vector<std::string> warnings;
};

// Chooses the label of the backup that is about to begin. `full_label` is the full that a diff or
// an incr builds on; a full passes nothing. The label is later than every label in the repository,
// whatever the clock of this node says: it follows the clock of the store, which is the same for
// all nodes, or the newest label when that is ahead of the clock. So no backup is refused because
// of a clock. The caller holds the lock.
Result<LabelChoice> ChooseLabel(const Repository& repository, BackupType type,
                                const std::string& full_label);

// A larger difference between the clocks of this node and of the store is worth a warning. It does
// no harm to backups. But the target times of a recovery go by the server's clock, and S3 refuses
// requests when the difference is a quarter of an hour.
inline constexpr std::chrono::seconds kSkewToWarn{60};

}  // namespace veza
