// Finds objects in a repository that nothing refers to (orphans).
#pragma once

#include <set>
#include <string>

#include "core/error.h"
#include "core/verify/session.h"

namespace veza {

// Adds these to the session's orphans: temporary files of writes that were interrupted more than an
// hour ago; and, outside of `backup/<label>/`, objects whose names FORMAT.md does not define, keys
// and WAL that belong to no known system, and pins of backups that do not exist. Objects below a
// label are not examined here: ManifestVerifier examines those of a backup, and retention removes
// the others. Probes are ignored.
Status FindOrphans(VerifySession& session);

}  // namespace veza
