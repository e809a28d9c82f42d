// What the servers of a cluster had set for retention, as their backups tell.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/repository.h"

namespace veza {

struct StatedNumber {
  int number = 0;
  std::string backup{};  // the label of the one that says so
};
// By the name of the setting, without prefix.
using StatedNumbers = std::map<std::string, StatedNumber, std::less<>>;

// For each number of retention that of the node that keeps most, by the newest backup of each node.
// Nodes may differ, and a standby takes backups, too. Empty when one of these backups does not
// tell, or when a newer one cannot be read. `catalog` is of this repository.
Result<StatedNumbers> ReadStatedNumbers(const Repository& repository,
                                        std::uint64_t system_identifier,
                                        const BackupCatalog& catalog);

// Whether retention keeps less with `number` than with `other`. 0 keeps all.
bool KeepsLess(int number, int other);

}  // namespace veza
