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

// Removes what is in the target directory and in the tablespaces' directories of this PostgreSQL
// version and not in the backup: files, directories with all they hold, links (which are not
// followed) and whatever has the name of another kind of thing. What else there is in a
// tablespace's location is another version's.
Status RemoveWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan);

}  // namespace veza
