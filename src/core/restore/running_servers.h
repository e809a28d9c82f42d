// Finds the directories that the PostgreSQL servers of this machine use.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace veza {

// A directory that a server uses: its data directory, pg_wal, a tablespace's location, or the
// target of another symbolic link at the top of the data directory or in base. It is identified by
// device and inode, because the path may differ in a container.
struct UsedPlace {
  dev_t device = 0;
  ino_t inode = 0;
  std::string process;
  std::string data_directory;  // for messages
  bool is_data_directory = false;
  bool is_tablespace = false;
};

// Finds the servers by the working directory, which is the data directory, of each process named
// "postgres" (or "postmaster", as Red Hat's packages start version 15). Symbolic links are resolved
// as that process would resolve them. Processes of other accounts can be examined by root only.
std::vector<UsedPlace> FindUsedPlaces();

// kFailedPrecondition when a server runs in the data directory `target`, or when one uses `target`,
// one of `directories`, or a directory that contains one of them. postmaster.pid alone would not
// do: it tells about `target` only, and somebody may have removed it. A copy of a data directory
// has the original's links, which lead to directories that the original uses. Directories in use
// below these are found by a sweep (sweep.h).
Status RequireUnused(const std::string& target, const std::vector<std::string>& directories);

// The path to which the absolute `path` leads for a process whose root directory is `root`, as a
// path below `root` without links. nullopt when links form a loop.
std::optional<std::string> ResolveIn(const std::string& root, const std::string& path);

}  // namespace veza
