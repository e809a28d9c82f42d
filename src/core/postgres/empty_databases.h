// What `vezactl restore --databases` tells the restored server: which databases it has left empty.
// A file in the data directory, which no backup copies.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace veza {

inline constexpr std::string_view kEmptyDatabasesFile = "veza-empty-databases";

struct EmptyDatabase {
  std::uint32_t oid = 0;
  std::string name;
};

struct EmptyDatabases {
  std::uint64_t system_identifier = 0;
  std::string backup;  // its label
  std::vector<EmptyDatabase> databases;
};

// A JSON object: "written_by", "system_identifier", "backup" and "databases", an array of
// {"oid": 16384, "name": "app"}.
std::string FormatEmptyDatabases(const EmptyDatabases& empty);
// kDataCorrupted for anything that FormatEmptyDatabases() has not written.
Result<EmptyDatabases> ParseEmptyDatabases(std::string_view text);

// Oids from here on are given out by the server to what its users make (access/transam.h); below it
// are template1, template0 and postgres as initdb has made them.
inline constexpr std::uint32_t kFirstNormalOid = 16384;

}  // namespace veza
