// Where pg_wal of a restored cluster is, when it is not a plain directory of the data directory.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

struct WalDirectory {
  std::string path;        // empty: pg_wal is a plain directory
  bool is_linked = false;  // the target's pg_wal leads there already
};

// `wanted` is what the user has said, or empty: then a link that the target has for pg_wal is kept.
// Refused: a link that leads nowhere, a directory that holds something (unless a delta's target
// leads to it already, or has a claim there: then see RequireOwnPlaces), and one that is within the
// data directory or a tablespace, or around one.
Result<WalDirectory> PlaceWal(const std::string& target, const std::string& wanted,
                              const std::vector<Tablespace>& tablespaces, bool delta);

}  // namespace veza
