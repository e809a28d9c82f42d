// The walk over a data directory: what belongs into a backup and what does not.
//
// The rules are those of the server's own base backup (backup/basebackup.c: excludeDirContents,
// excludeFiles, sendDir, isRelFileName; 15 to 18), restated in postgres-facts.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

// What kind of file a path inside the data directory is, by its name alone.
struct RelationFile {
  bool is_relation = false;
  bool is_main_fork = false;
  std::uint32_t segment = 0;   // number of the 1 GiB segment within the fork
  std::uint32_t database = 0;  // its oid; 0 in "global"
};
RelationFile ClassifyFile(std::string_view path);

// The oid of the database in whose directory the file is, in whatever tablespace; 0 for none.
std::uint32_t DatabaseOf(std::string_view path);

struct DirectoryEntry {
  enum class Kind { kDirectory, kFile } kind = Kind::kFile;
  std::string path;         // relative to the data directory
  std::string source_path;  // to open; through the tablespace's own location
  std::uint32_t mode = 0;
  std::uint64_t size = 0;  // when it was listed
  RelationFile relation;   // of files
};

struct WalkOptions {
  std::string data_directory;
  std::vector<Tablespace> tablespaces;  // outside ones only; in-place ones are plain directories
  std::string tablespace_version_directory;  // "PG_15_202209061", TABLESPACE_VERSION_DIRECTORY
  int postgres_major = 15;
};

// Calls `visit` for every directory (before its content) and file to be copied, in the order of
// names within a directory. Not visited: global/pg_control (always copied last, by hand),
// backup_label and tablespace_map. Files that vanish are skipped. `warn` gets a sentence for what
// is skipped but unexpected (sockets, foreign symbolic links). Memory: the names of one directory
// level at a time.
Status WalkDataDirectory(const WalkOptions& options,
                         const std::function<Status(const DirectoryEntry&)>& visit,
                         const std::function<void(const std::string&)>& warn);

}  // namespace veza
