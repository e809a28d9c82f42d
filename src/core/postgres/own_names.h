// Names of the files that are ours in a data directory and where its links lead. Most are a
// restore's.
#pragma once

#include <string_view>

namespace veza {

// A file in the target directory: a restore has begun here and not ended, and what is outside of
// the directory counts as its own only by a claim (BelongsTo). Empty, a person has made it, and
// says that all in the directory may be removed. (Version 0.1 listed the locations of tablespaces.)
inline constexpr std::string_view kUnfinishedMarker = "veza-restoring";

// What global/pg_control is called until the restore has ended.
inline constexpr std::string_view kUnfinishedControlFile = "global/pg_control.veza-restoring";

// What a restore puts into each directory of its own outside of the data directory, until it has
// ended: the path of the data directory. The name is one that sweep.h and PostgreSQL pass over.
inline constexpr std::string_view kClaim = "veza_restoring";

// In the data directory: the lines of these that must not outlive the recovery, as they were
// written. A standby that is made from the server later on takes over postgresql.auto.conf, and
// would end its own recovery at our target.
inline constexpr const char* kRecoverySettingsFile = "veza-recovery-settings";

// In the data directory: which repository this server archives to (repository_marker.h).
inline constexpr std::string_view kRepositoryMarker = "veza-repository";

}  // namespace veza
