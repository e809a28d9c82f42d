// Chooses where pg_wal of a restored cluster is, if it is not a plain directory in the data
// directory.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

struct WalDirectory {
  std::string path;        // empty when pg_wal is a plain directory
  bool is_linked = false;  // the target's pg_wal already leads there
};

// `wanted` is what the user has said. If it is empty, a link that the target already has for pg_wal
// is kept. Refused: a link that leads nowhere; a directory that is not empty, unless the target of
// a delta leads to it already or has a claim there (then RequireOwnPlaces decides); and a directory
// inside the data directory or a tablespace, or containing one.
Result<WalDirectory> PlaceWal(const std::string& target, const std::string& wanted,
                              const std::vector<Tablespace>& tablespaces, bool delta);

}  // namespace veza
