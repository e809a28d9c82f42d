// Is this repository fit for use? The rows behind veza_backup_check() and `vezactl check`.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/repository/repository.h"

namespace veza {

struct CheckResult {
  std::string name;  // "store", "write", "conditional_writes", …: stable, for programs
  bool passed = false;
  std::string detail;  // what was found
  std::string hint;    // what to do; of a check that passed: a warning
};

// Talks to the store: lists, writes, reads back, overwrites conditionally and deletes a probe
// object, compares clocks, opens key and identities. Checks that cannot be made because an earlier
// one failed are left out. Never changes anything but the probe object. Backups are those of the
// system, or of any. `looks_before_writes` as in Config. `may_write`, where it is given, is asked
// before anything is written; what it refuses is the row "identity", and the last one.
std::vector<CheckResult> CheckRepository(const std::shared_ptr<Store>& store,
                                         const RepositoryOptions& options,
                                         const Environment& environment,
                                         std::optional<std::uint64_t> system_identifier = {},
                                         bool looks_before_writes = false,
                                         const std::function<Status(Store&)>& may_write = {});

// One row for a failed step: the error's message and hint.
CheckResult FailedCheck(std::string name, const Error& error);

}  // namespace veza
