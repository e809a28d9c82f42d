// What the servers of a cluster had set for retention, as their backups tell.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/config/retention_keep.h"
#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/repository.h"

namespace veza {

struct StatedNumber {
  int number = 0;
  std::string backup{};  // the label of the one that says so
};

struct StatedNumbers {
  // What the backups tell that can be read, by the name of the setting, without prefix: of each
  // number that of the node that keeps most.
  std::map<std::string, StatedNumber, std::less<>> numbers;
  std::chrono::seconds window{0};  // the longest retention_window
  std::vector<KeepRule> keep;      // what keeps all that retention_keep keeps on any node
  // Why a node may keep more than that, in words. Empty if every node has told. Then whoever
  // removes what another keeps needs the word of a person.
  std::string unknown;
};

// Reads the newest backup of each node. Nodes may differ, and a standby takes backups, too. A node
// is unknown when its newest backup does not tell, and whenever there is a backup that cannot be
// read: that may be the newest of its node, or the only one. A node without a backup is not known
// of. `catalog` is of this repository.
Result<StatedNumbers> ReadStatedNumbers(const Repository& repository,
                                        std::uint64_t system_identifier,
                                        const BackupCatalog& catalog);

// Whether retention keeps less with `number` than with `other`. 0 keeps all.
bool KeepsLess(int number, int other);

}  // namespace veza
