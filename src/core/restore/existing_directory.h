// Checks whether a directory that is not empty may become the target of a delta restore.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/postgres/own_names.h"
#include "core/storage/unique_fd.h"

namespace veza {

// The content of kUnfinishedMarker.
inline constexpr std::string_view kUnfinishedText =
    "A restore has begun here. Its other directories hold a file \"veza_restoring\".\n";

// The canonical form of the path: the same for every way to write it, through any links. Trailing
// parts need not exist.
std::string CanonicalPath(const std::string& path);

// Also true when the directory does not exist, and when it holds only the lost+found of a file
// system.
Result<bool> IsEmptyDirectory(const std::string& path);
// The same for a future data directory. It may also hold a prepared pg_wal: a symbolic link, or an
// empty directory.
Result<bool> IsEmptyTarget(const std::string& path);

// Locks a directory for one restore, until the last copy of the result is destroyed or the process
// ends. Two restores into one directory would each remove what the other writes, and the later one
// might do so under a running server. Null when the directory does not exist yet.
// kFailedPrecondition when it is locked.
//
// The lock is flock(2) on the directory itself, so no file remains. On a file system that cannot
// lock a directory (NFS: EBADF) there is no lock.
Result<std::shared_ptr<const UniqueFd>> LockTarget(const std::string& path);
// The error for a directory that was empty or absent when the plan was made, and is not when it is
// locked.
Error FilledMeanwhile(const std::string& path);

// Checks that `path` is absent; empty; a data directory of this cluster (only a pg_control with a
// valid checksum proves that) in which no server runs; or the remains of an interrupted restore.
// kFailedPrecondition otherwise. The rest of its content is checked by RequireSweepable().
Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier);

// kFailedPrecondition when a server runs in the directory.
Status RequireNoServer(const std::string& path);

// Creates kClaim in the directory.
Status ClaimDirectory(const std::string& directory, const std::string& target);
// Removes the claim if it is one of `target`.
Status ReleaseDirectory(const std::string& directory, const std::string& target);

// A directory outside of the data directory `target` that a delta will fill.
struct OuterPlace {
  std::string directory;
  std::string link;       // in the target: it leads to the directory, or will
  std::string option;     // the option of vezactl that names the directory; empty without a link
  bool is_named = false;  // by the user
};

// Whether the content of the directory may belong to the target. That is so if the target has a
// claim there or, if nobody has a claim, if the target's link leads there. After an interrupted
// restore (kUnfinishedMarker) the link proves nothing, because the directory may have been emptied
// and given to another server since. Then only the claim counts.
bool MayBelongTo(const std::string& target, const OuterPlace& place);
// Whether the target has a claim there.
bool IsClaimedBy(const std::string& target, const std::string& directory);

// Checks that each directory is absent, empty, or the target's own. It is the target's own if the
// target has a claim there, or if its link leads there and either the target is known not to be a
// copy (original.h) or the user has named the directory. Returns the directories that are not
// empty. kFailedPrecondition otherwise; the error names all directories without a proof, and the
// options by which the user can say that they are the target's.
Result<std::vector<std::string>> RequireOwnPlaces(const std::string& target,
                                                  const std::vector<OuterPlace>& places);

}  // namespace veza
