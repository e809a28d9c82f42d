// What a path inside a data directory is, by its name alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace veza {

bool IsDigits(std::string_view text);

// "<number>[_fork][.segment]"
struct RelationName {
  std::string_view number;
  std::string_view fork;  // empty for the main fork
  std::uint32_t segment = 0;
};
std::optional<RelationName> ParseRelationName(std::string_view name);

// "t<backend>_<relation name>" (reinit.c, looks_like_temp_rel_name).
bool IsTemporaryRelationName(std::string_view name);

// Whether `path` is a directory that holds relations: "global", "base/<n>",
// "pg_tblspc/<n>/PG_…/<n>".
enum class RelationDirectory { kNo, kGlobal, kDatabase };
RelationDirectory ClassifyDirectory(std::string_view path);

// What kind of file a path is.
struct RelationFile {
  bool is_relation = false;
  bool is_main_fork = false;
  std::uint32_t segment = 0;   // number of the 1 GiB segment within the fork
  std::uint32_t database = 0;  // its oid; 0 in "global"
};
RelationFile ClassifyFile(std::string_view path);

// The oid of the database in whose directory the file is, in whatever tablespace; 0 for none.
std::uint32_t DatabaseOf(std::string_view path);

}  // namespace veza
