// Checks whether a repository is fit for use. These are the rows of veza_backup_check() and
// `vezactl check`.
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
  std::string name;  // "store", "write", "conditional_writes", …; stable, for programs
  bool passed = false;
  std::string detail;  // what was found
  std::string hint;    // what to do; for a check that passed, a warning
};

// Tests the store: lists, writes a probe object, reads it back, overwrites it conditionally,
// deletes it, compares clocks, and opens the key and the identities. A check is left out when an
// earlier one has failed on which it depends. Nothing but the probe object is changed. The row
// "backups" counts the backups of `system_identifier`, or of all systems. It fails when one of them
// cannot be restored. `looks_before_writes` is as in Config. `may_write`, if given, is called
// before anything is written; if it returns an error, that error becomes the row "identity", which
// is then the last one.
std::vector<CheckResult> CheckRepository(const std::shared_ptr<Store>& store,
                                         const RepositoryOptions& options,
                                         const Environment& environment,
                                         std::optional<std::uint64_t> system_identifier = {},
                                         bool looks_before_writes = false,
                                         const std::function<Status(Store&)>& may_write = {});

// A row for a failed step, with the error's message and hint.
CheckResult FailedCheck(std::string name, const Error& error);

}  // namespace veza
