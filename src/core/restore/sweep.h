// Removes from a directory what a backup does not have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// The files and directories of a backup, by 8 bytes each.
class PathSet {
 public:
  enum class Kind : char { kFile = 'f', kDirectory = 'd' };
  void Add(std::string_view path, Kind kind);
  // After the last Add(), before the first Contains().
  void Close();
  bool Contains(std::string_view path, Kind kind) const;

 private:
  std::vector<std::uint64_t> hashes_;
};

// Reads the manifest once, to its verified end, and makes sure that the repository lists every pack
// that it describes. Changes nothing.
Result<PathSet> ReadPaths(const Repository& repository, const RestorePlan& plan);

// What a look at the directories has found, by absolute paths.
struct SweepFindings {
  std::vector<std::string> unknown;     // at the top of the data directory or of pg_wal: nobody's
  std::vector<std::string> mounts;      // of file systems that the plan does not name
  std::vector<std::string> used;        // directories of servers that run, or of the repository
  std::vector<std::string> someones;    // that look like another cluster's: data, tablespace, WAL
  std::vector<std::string> in_the_way;  // of those that would be kept: in a pg_wal that goes
  std::vector<std::string> closed;      // what this account cannot remove or write to
  std::vector<FollowedLink> links;      // to be replaced; what they lead to stays as it is
};
// Changes nothing.
Result<SweepFindings> FindWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan);
// An error when something must not, or cannot, be removed. `used` and `someones` never are,
// whatever the plan says of unknown names.
Status RequireSweepable(const SweepFindings& findings, const RestorePlan& plan);

// Removes what is in the target directory, in pg_wal and in the tablespaces' directories of this
// PostgreSQL version and not in the backup: files, directories with all they hold, links (which are
// not followed) and whatever has the name of another kind of thing. Left alone: what else there is
// in a tablespace's location, which is another version's; lost+found at the top of these
// directories; and every file system but those that they are on. To be called when
// RequireSweepable() is content; an error now means that something has changed since.
Status RemoveWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan);

}  // namespace veza
