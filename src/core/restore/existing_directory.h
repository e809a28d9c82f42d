// Whether a directory that holds something may become the target of a restore that keeps what fits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/storage/unique_fd.h"

namespace veza {

// A file in the target directory: a restore has begun here and not ended. It lists the locations of
// tablespaces, one a line, that the restore fills; no others are taken for what it has left.
inline constexpr std::string_view kUnfinishedMarker = "veza-restoring";
std::string FormatUnfinishedMarker(const std::vector<Tablespace>& tablespaces);

// True also when it is absent, and when it holds nothing but the lost+found of a file system.
Result<bool> IsEmptyDirectory(const std::string& path);
// The same of a data directory to be; it may also hold a pg_wal that is prepared: a link, or an
// empty directory.
Result<bool> IsEmptyTarget(const std::string& path);

// Takes a directory for one restore: until the last copy of the result goes, and not longer than
// the process lives, nobody else gets it. Two restores into one directory would each remove what
// the other one writes, and the one that ends last would do so under a server that runs by then.
// Null when there is no such directory yet. kFailedPrecondition when it is taken.
//
// By flock(2) on the directory itself, so there is no file to leave behind. A file system that
// cannot lock a directory (NFS: EBADF) does without.
Result<std::shared_ptr<const UniqueFd>> LockTarget(const std::string& path);

// `path` is absent, empty, a data directory of this cluster (which only a pg_control with a right
// checksum proves) in which no server runs, or what an interrupted restore has left.
// kFailedPrecondition when not. What else is in it RequireSweepable() looks at.
Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier);

// kFailedPrecondition when a server runs in the directory.
Status RequireNoServer(const std::string& path);

// Whether it is the location that the data directory `target` links to, or that a restore into
// `target` had begun to fill.
bool IsTablespaceOf(const std::string& target, const Tablespace& tablespace);
// The location of `tablespace` is absent, empty, or one of `target`. kFailedPrecondition when not.
Status RequireReplaceableTablespace(const std::string& target, const Tablespace& tablespace);

}  // namespace veza
