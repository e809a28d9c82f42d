// Removes from a directory what is not in the backup.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// The set of files and directories of a backup. Takes 8 bytes for each.
class PathSet {
 public:
  enum class Kind : char { kFile = 'f', kDirectory = 'd' };
  void Add(std::string_view path, Kind kind);
  // To be called after the last Add() and before the first Contains().
  void Close();
  bool Contains(std::string_view path, Kind kind) const;

 private:
  std::vector<std::uint64_t> hashes_;
};

// Reads the manifest once, completely, and verifies it. Also checks that the repository lists every
// pack that it describes. Files that the restore leaves out are not in it. Changes nothing.
Result<PathSet> ReadPaths(const Repository& repository, const RestorePlan& plan);

// What a check of the directories has found, as absolute paths.
struct SweepFindings {
  // Names at the top of the data directory or of pg_wal that are not PostgreSQL's.
  std::vector<std::string> unknown;
  std::vector<std::string> mounts;  // mount points of file systems that the plan does not name
  std::vector<std::string> used;    // directories that a running server or the repository uses
  // Directories that look like another cluster's: data, tablespace, WAL.
  std::vector<std::string> someones;
  std::vector<std::string> in_the_way;  // names that would be kept, but are in a pg_wal that goes
  std::vector<std::string> closed;      // what this account cannot remove or write to
  std::vector<FollowedLink> links;      // to be replaced; what they lead to is not changed
};
// Changes nothing.
Result<SweepFindings> FindWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan);
// An error when something must not, or cannot, be removed. What is in `used` and `someones` is
// never removed, whatever the plan says about unknown names.
Status RequireSweepable(const SweepFindings& findings, const RestorePlan& plan);

// Removes everything that is not in the backup from the target directory, from pg_wal and from the
// tablespaces' directories of this PostgreSQL version: files, directories with their content,
// symbolic links (which are not followed), and whatever has the wrong type. These are not touched:
// the rest of a tablespace's location, which belongs to other versions; lost+found at the top of
// these directories; and all file systems other than theirs. To be called only after
// RequireSweepable() succeeded. An error means that something has changed since.
Status RemoveWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan);

}  // namespace veza
