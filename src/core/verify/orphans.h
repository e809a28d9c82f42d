// Finds objects in a repository that belong to nothing.
#pragma once

#include <set>
#include <string>

#include "core/error.h"
#include "core/verify/session.h"

namespace veza {

// Looks for temporary files of writes that were cut off more than an hour ago, and at every object
// outside of `backup/<label>/`: what has no name that FORMAT.md knows, keys
// and WAL of nobody, and pins of backups that are not there. What is below a label is either a
// backup's, and its manifest tells, or retention's to remove. Probes are left alone.
Status FindOrphans(VerifySession& session);

}  // namespace veza
