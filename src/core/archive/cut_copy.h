// Segments that recovery has cut off at the point where the server left their timeline.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

// Whether the segment `file` in `wal_directory` differs from the one in the repository only by
// zeros behind the point where the server has left the segment's timeline. Recovery was given such
// a segment (CutAtFork in wal-get, XLogFileCopy in PostgreSQL), and a standby with archive_mode =
// always offers it to its archiver. False when the file is no segment, or no history file in
// `wal_directory` leaves its timeline within it.
Result<bool> IsCutCopy(const Repository& repository, std::uint64_t system_identifier,
                       const std::string& wal_directory, const std::string& file,
                       std::uint64_t segment_size);

}  // namespace veza
