// The file by which `vezactl restore --databases` tells the restored server which databases it has
// left empty. The file is in the data directory, and no backup copies it.
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

// The server assigns oids from here on to objects that its users create (access/transam.h). Below
// it are template1, template0 and postgres, as initdb has created them.
inline constexpr std::uint32_t kFirstNormalOid = 16384;

}  // namespace veza
