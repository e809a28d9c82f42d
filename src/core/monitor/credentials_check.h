// Checks where the credentials for S3 come from: the row "credentials" of veza_backup_check() and
// `vezactl check`.
#pragma once

#include <optional>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/monitor/check.h"

namespace veza {

// Gets the credentials, which may take some seconds. Says which provider gave which access key, and
// until when it is valid. A warning when they could not be renewed. nullopt for a directory.
std::optional<CheckResult> CheckCredentialsOf(const Config& config, const Environment& environment);

}  // namespace veza
