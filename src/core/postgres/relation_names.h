// Tells what a path inside a data directory is, by its name alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace veza {

// Whether `text` has at least one character and all are decimal digits.
bool IsDigits(std::string_view text);

// A name of the form "<number>[_fork][.segment]". nullopt for other names.
struct RelationName {
  std::string_view number;
  std::string_view fork;  // empty for the main fork
  std::uint32_t segment = 0;
};
std::optional<RelationName> ParseRelationName(std::string_view name);

// "t<backend>_<relation name>" (reinit.c, looks_like_temp_rel_name).
bool IsTemporaryRelationName(std::string_view name);

// What kind of directory `path` is: "global"; the directory of a database ("base/<n>" or
// "pg_tblspc/<n>/PG_…/<n>"); or one that holds no relations.
enum class RelationDirectory { kNo, kGlobal, kDatabase };
RelationDirectory ClassifyDirectory(std::string_view path);

// What kind of file `path` is. All members are zero for a file that belongs to no relation.
struct RelationPath {
  bool is_relation = false;
  bool is_main_fork = false;
  std::uint32_t segment = 0;     // number of the 1 GiB segment within the fork
  std::uint32_t database = 0;    // its oid; 0 in "global"
  std::uint32_t tablespace = 0;  // its oid, as WAL names it: also of "global" and "base"
  // The number in the file's name. 0 if the server would not write the path in this way.
  std::uint32_t number = 0;
};
RelationPath ClassifyFile(std::string_view path);

// The oid of the database whose directory holds the file, in any tablespace. 0 when none does.
std::uint32_t DatabaseOf(std::string_view path);

}  // namespace veza
