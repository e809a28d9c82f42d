// Who could read or take away what the repository holds: the row "security" of veza_backup_check()
// and `vezactl check`.
#pragma once

#include <optional>
#include <string>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/repository/check.h"
#include "core/s3/s3_bucket.h"

namespace veza {

// Whether accounts other than the owner can read the file: by its mode, and that of the directories
// above it. A file of root's may be readable for its group, as a secret file may. Nothing when the
// file cannot be looked at.
std::optional<bool> OthersCanRead(const std::string& path);

// The row. It fails on what nobody wants: a secret that other accounts can read, and a lifecycle
// rule that deletes backups. What may be a choice (no TLS, no verification, no encryption, old
// versions that stay for ever) is in the detail of a row that passes, with what to do as its hint.
// What could not be found out is said to be unknown. `bucket`: empty for a directory.
CheckResult JudgeSecurity(const Config& config, const std::optional<BucketRules>& bucket);

// The same, with the bucket's answers: two requests.
CheckResult CheckSecurity(const Config& config, const Environment& environment);

}  // namespace veza
