// Names of the files that veza_backup itself creates in a data directory, and in the places that
// its symbolic links lead to. Most of them belong to a restore.
#pragma once

#include <string_view>

namespace veza {

// A file in the target directory. It says that a restore has begun here and has not ended. A
// directory outside of the target then belongs to that restore only if it holds a claim
// (MayBelongTo). An empty file was made by a person, and says that everything in the directory may
// be removed. (Version 0.1 wrote the locations of tablespaces into it.)
inline constexpr std::string_view kUnfinishedMarker = "veza-restoring";

// The name of global/pg_control until the restore has ended.
inline constexpr std::string_view kUnfinishedControlFile = "global/pg_control.veza-restoring";

// A file that a restore puts into each directory that it creates outside of the data directory,
// until it has ended. It holds the path of the data directory. PostgreSQL and sweep.h both pass
// over files of this name.
inline constexpr std::string_view kClaim = "veza_restoring";

// A file in the data directory. It holds the lines that the restore has added to
// postgresql.auto.conf and that must be removed after recovery. Otherwise a standby that is later
// made from this server would copy them and end its own recovery at the target of this restore.
inline constexpr const char* kRecoverySettingsFile = "veza-recovery-settings";

// A file in the data directory that says which repository this server archives to
// (repository_marker.h).
inline constexpr std::string_view kRepositoryMarker = "veza-repository";

}  // namespace veza
