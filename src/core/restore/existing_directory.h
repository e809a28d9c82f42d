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

// A file in the target directory: a restore has begun here and not ended, and what is outside of
// the directory counts as its own only by a claim (BelongsTo). Empty, a person has made it, and
// says that all may be removed to which the directory leads. (Version 0.1 listed the locations of
// tablespaces.)
inline constexpr std::string_view kUnfinishedMarker = "veza-restoring";
inline constexpr std::string_view kUnfinishedText =
    "A restore has begun here. Its other directories hold a file \"veza_restoring\".\n";

// The same for every way to write the path, by whatever links; what is absent may be part of it.
std::string CanonicalPath(const std::string& path);

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
// For one that was empty, or absent, before it was locked.
Error FilledMeanwhile(const std::string& path);

// `path` is absent, empty, a data directory of this cluster (which only a pg_control with a right
// checksum proves) in which no server runs, or what an interrupted restore has left.
// kFailedPrecondition when not. What else is in it RequireSweepable() looks at.
Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier);

// kFailedPrecondition when a server runs in the directory.
Status RequireNoServer(const std::string& path);

// What a restore puts into each directory of its own outside of the data directory, until it has
// ended: the path of the data directory. The name is one that sweep.h and PostgreSQL pass over.
inline constexpr std::string_view kClaim = "veza_restoring";
Status ClaimDirectory(const std::string& directory, const std::string& target);
Status ReleaseDirectory(const std::string& directory);
// Whether what is in `directory` belongs to the data directory `target`, which has a link to it
// when `is_linked`. A claim of another data directory rules that out. After an interrupted restore
// (kUnfinishedMarker) the link proves nothing: the directory may have been emptied and given to
// another server since. Then only the claim does.
bool BelongsTo(const std::string& target, const std::string& directory, bool is_linked);

// For a directory that does not belong to `target`; `link` is where its link would be.
Error NotOurs(const std::string& target, const std::string& directory, const std::string& link);

// Whether it is the location that the data directory `target` links to, or that a restore into
// `target` had begun to fill.
bool IsTablespaceOf(const std::string& target, const Tablespace& tablespace);
// The location of `tablespace` is absent, empty, or one of `target`. kFailedPrecondition when not.
Status RequireReplaceableTablespace(const std::string& target, const Tablespace& tablespace);

}  // namespace veza
