// Walks a data directory and finds the files and directories that belong to a backup.
//
// The rules are those of the server's own base backup (backup/basebackup.c: excludeDirContents,
// excludeFiles, sendDir, isRelFileName; 15 to 18), except for symbolic links. The walk follows
// them, as PostgreSQL does when it opens these files: the backup holds plain files and directories
// in their place. Nothing is left out silently except what the rules name: either the visitor is
// told, or the walk fails.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/relation_names.h"
#include "core/postgres/tablespace_map.h"
#include "core/postgres/walk_notes.h"
#include "core/storage/unique_fd.h"

namespace veza {

// mkfs.ext4 creates a directory of this name at the root of a file system.
inline constexpr std::string_view kLostAndFound = "lost+found";

// A file in a restored data directory that has links to places outside. It says which directory
// this is (restore/original.h). That is true of no other directory, so the file is never backed up.
inline constexpr std::string_view kDirectoryNote = "veza-directory";

// Whether every version of the walk leaves out files and directories of this name, wherever they
// are. (The backup writes its own backup_label and tablespace_map.)
bool IsExcludedName(std::string_view name);

// Whether the content of a directory of this name is left out, while the directory itself is kept
// (for example pg_stat_tmp).
bool IsEmptiedDirectory(std::string_view name);

struct DirectoryEntry {
  enum class Kind { kDirectory, kFile } kind = Kind::kFile;
  std::string path;         // relative to the data directory
  std::string source_path;  // its real path, without symbolic links
  std::string link_path;    // the symbolic link that leads to a file; empty when there is none
  std::uint32_t mode = 0;
  // When it was listed.
  std::uint64_t size = 0;
  std::int64_t mtime = 0;  // Unix time
  RelationPath relation;   // for files only
};

struct WalkOptions {
  std::string data_directory;
  // Only those outside the data directory; in-place ones are plain directories.
  std::vector<Tablespace> tablespaces;
  std::string tablespace_version_directory;  // "PG_15_202209061", TABLESPACE_VERSION_DIRECTORY
  int postgres_major = 15;
  // Where backups are stored; empty when not on a local file system.
  std::string repository_directory;
  // Leaves out relations that become unlogged while their directory is walked. Takes an lstat(2)
  // for each file of a relation, so who only counts does without.
  bool looks_again_for_init_forks = true;
};

struct WalkVisitor {
  std::function<Status(const DirectoryEntry&)> visit;
  // Called for what is in the data directory and is not copied. Not called for what the rules leave
  // out: temporary files, contents of unlogged relations, pg_wal and the like. `unexpected`: the
  // operator should be warned.
  std::function<void(const SkippedItem&, bool unexpected)> skip;
  std::function<void(const FollowedLink&)> follow;
};

// Visits every directory (before its content) and every file to be copied. Within a directory,
// names are visited in order. global/pg_control, backup_label and tablespace_map are not visited;
// the backup adds them itself, pg_control last. Files that vanish during the walk are passed over.
// Skipped, and reported to the visitor, are sockets, FIFOs, devices, lost+found, symbolic links
// that lead nowhere where PostgreSQL needs nothing, and symbolic links to the location of a
// tablespace.
//
// Returns kFailedPrecondition when
// - the walk comes to the repository: each backup would then hold all backups before it. The
//   repository is recognised by device and inode, whatever path leads to it.
// - a symbolic link leads nowhere where PostgreSQL needs something, or to a directory that contains
//   the link;
// - the location of a tablespace, or this version's directory in it, is missing although the link
//   in pg_tblspc exists;
// - a directory was replaced while it was read.
//
// Two links to one place give two copies. Memory: the names in one directory at each level, with 5
// bytes more each.
Status WalkDataDirectory(const WalkOptions& options, const WalkVisitor& visitor);

// The tablespaces outside the data directory, read from the symbolic links in pg_tblspc. Their
// sizes are not set.
Result<std::vector<Tablespace>> ReadTablespaceLinks(const std::string& data_directory);

struct OpenedFile {
  UniqueFd fd;
  struct stat info {};
};
// Opens a file that was visited. nullopt when it has vanished since. An error when it is no longer
// a regular file, when it cannot be read, or when a symbolic link leads to it and only the link's
// target has vanished.
Result<std::optional<OpenedFile>> OpenForBackup(const DirectoryEntry& entry);

}  // namespace veza
