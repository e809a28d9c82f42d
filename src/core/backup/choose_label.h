// The label of a new backup.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

struct LabelChoice {
  std::string label;
  // What the operator should know of the clocks; whole sentences for the log.
  std::vector<std::string> warnings;
};

// Of the backup that is about to begin; a diff of `full_label`, when given. The label is later than
// every label there is in the repository, whatever this node's clock says: it follows the clock of
// the store, which is the same for all nodes, or the newest label where that is ahead. So a backup
// need not be refused because of a clock. The caller holds the lock.
Result<LabelChoice> ChooseLabel(const Repository& repository,
                                const std::optional<std::string>& full_label);

// From here on a difference between this node's clock and the store's is worth a warning. It does
// no harm to backups: but target times of a recovery are by the clock of the server, and S3 refuses
// requests when it is a quarter of an hour.
inline constexpr std::chrono::seconds kSkewToWarn{60};

}  // namespace veza
