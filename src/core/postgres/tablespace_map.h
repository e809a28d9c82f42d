// The tablespace_map file, which PostgreSQL writes at the start of a backup and reads in recovery.
// Each line is "<oid> <path>". A backslash precedes each backslash, LF and CR of a path (xlog.c,
// do_pg_backup_start; xlogrecovery.c, read_tablespace_map; 15 to 18).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace veza {

struct Tablespace {
  std::uint32_t oid = 0;
  std::string path;        // on the server that was backed up
  std::uint64_t size = 0;  // bytes of its files; not part of the file
};

// kDataCorrupted for text that PostgreSQL does not write. Sizes are not set.
Result<std::vector<Tablespace>> ParseTablespaceMap(std::string_view text);
std::string FormatTablespaceMap(const std::vector<Tablespace>& tablespaces);

}  // namespace veza
