// Whether a directory that holds something may become the target of a restore that keeps what fits.
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

// What kUnfinishedMarker holds.
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

// Puts kClaim there.
Status ClaimDirectory(const std::string& directory, const std::string& target);
// Removes the claim when it is one of `target`.
Status ReleaseDirectory(const std::string& directory, const std::string& target);

// A place outside of the data directory `target` that a delta is to fill.
struct OuterPlace {
  std::string directory;
  std::string link;       // of the target: it leads there, or is going to
  std::string option;     // of vezactl, for the place to which the link leads; empty without a link
  bool is_named = false;  // by the user
};

// Whether what is in the place may be the target's: by a claim of the target; or, when nobody has a
// claim, by its link. After an interrupted restore (kUnfinishedMarker) the link proves nothing: the
// place may have been emptied and given to another server since. Then only the claim does.
bool MayBelongTo(const std::string& target, const OuterPlace& place);
// Whether it has a claim of the target.
bool IsClaimedBy(const std::string& target, const std::string& directory);

// Each of the places is absent, empty, or the target's own. That is what it has a claim for; and
// that to which its link leads, if it is proven that the target is no copy (original.h), or if the
// user has named the place. Gives those that are not empty. kFailedPrecondition when not; it names
// all places of which nothing is proven, and the options that say that they are the target's.
Result<std::vector<std::string>> RequireOwnPlaces(const std::string& target,
                                                  const std::vector<OuterPlace>& places);

}  // namespace veza
