// Which directories the PostgreSQL servers of this machine use.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"

namespace veza {

// A directory that a server uses: its data directory, pg_wal, a tablespace's location, or what
// another link of PostgreSQL's, at the top of the data directory or in base, leads to. Known by
// device and inode, which are the same in a container, where it may have another path.
struct UsedPlace {
  dev_t device = 0;
  ino_t inode = 0;
  std::string process;
  std::string data_directory;  // for messages
  bool is_data_directory = false;
  bool is_tablespace = false;
};

// By the working directory of each process named "postgres" (or "postmaster", as version 15 is
// started by the packages for Red Hat), which is its data directory. Links in
// it are followed as that process would. Those of other accounts cannot be looked into, unless by
// root.
std::vector<UsedPlace> FindUsedPlaces();

// kFailedPrecondition when a server runs in the data directory `target`, or when one uses it or one
// of `directories`, or a directory around one. postmaster.pid tells only of `target`, and only
// while nobody removes it. A copy of a data directory has the links of the original, so they lead
// to what the original uses. What is used below these directories a sweep finds (sweep.h).
Status RequireUnused(const std::string& target, const std::vector<std::string>& directories);

// Where `path`, absolute, leads for a process whose root directory is `root`: a path below that,
// without links. Nothing when links lead in a circle.
std::optional<std::string> ResolveIn(const std::string& root, const std::string& path);

}  // namespace veza
