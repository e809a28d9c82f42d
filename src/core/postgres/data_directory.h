// The walk over a data directory: what belongs into a backup and what does not.
//
// The rules are those of the server's own base backup (backup/basebackup.c: excludeDirContents,
// excludeFiles, sendDir, isRelFileName; 15 to 18), restated in postgres-facts.md, but for symbolic
// links: those are followed, as PostgreSQL does when it opens what is there, and what is behind
// them becomes plain files and directories of the backup. Nothing that the rules do not name is
// left out silently: the visitor is told of it, or the walk is an error.
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

// A directory of this name belongs to the file system at whose root it is.
inline constexpr std::string_view kLostAndFound = "lost+found";

// What a restore leaves in a data directory that has links to places outside: which directory it
// is (restore/original.h). Of no other one it is true, so no backup has it.
inline constexpr std::string_view kDirectoryNote = "veza-directory";

// Whether no version of the walk has visited a file or directory of this name, wherever it is. (The
// server's backup_label and tablespace_map come into a backup by hand.)
bool IsExcludedName(std::string_view name);

// Whether a directory of this name is kept without its content (pg_stat_tmp, for example).
bool IsEmptiedDirectory(std::string_view name);

struct DirectoryEntry {
  enum class Kind { kDirectory, kFile } kind = Kind::kFile;
  std::string path;         // relative to the data directory
  std::string source_path;  // where it is, without links
  std::string link_path;    // the symbolic link that leads to a file; empty when none does
  std::uint32_t mode = 0;
  std::uint64_t size = 0;  // when it was listed
  RelationFile relation;   // of files
};

struct WalkOptions {
  std::string data_directory;
  std::vector<Tablespace> tablespaces;  // outside ones only; in-place ones are plain directories
  std::string tablespace_version_directory;  // "PG_15_202209061", TABLESPACE_VERSION_DIRECTORY
  int postgres_major = 15;
  std::string repository_directory;  // where backups go; empty: on no file system of ours
};

struct WalkVisitor {
  std::function<Status(const DirectoryEntry&)> visit;
  // What is in the data directory and not copied. Not of what the rules leave out: temporary
  // files, contents of unlogged relations, pg_wal and the like. `unexpected`: a person should know.
  std::function<void(const SkippedItem&, bool unexpected)> skip;
  std::function<void(const FollowedLink&)> follow;
};

// Visits every directory (before its content) and file to be copied, in the order of names within a
// directory. Not visited: global/pg_control (always copied last, by hand), backup_label and
// tablespace_map. Files that vanish are passed over. Skipped: sockets, FIFOs, devices, lost+found,
// links to nothing where PostgreSQL needs nothing, links to a tablespace's location.
//
// kFailedPrecondition: the repository is in what is walked, so that each backup would hold those
// before it (found by device and inode, however it is reached); a link that leads to nothing where
// PostgreSQL needs something, or to a directory in which it is itself; a tablespace whose location,
// or directory in it, is not there although its link is; a directory that was replaced while it was
// read. Two links to one place give two copies. Memory: the names of one directory level at a time.
Status WalkDataDirectory(const WalkOptions& options, const WalkVisitor& visitor);

// The tablespaces outside, by their links in pg_tblspc.
Result<std::vector<Tablespace>> ReadTablespaceLinks(const std::string& data_directory);

struct OpenedFile {
  UniqueFd fd;
  struct stat info {};
};
// Opens a file that was visited. Nothing: it has vanished since. An error: it is not a regular file
// any more, or cannot be read, or a link leads to it and only its target has vanished.
Result<std::optional<OpenedFile>> OpenForBackup(const DirectoryEntry& entry);

}  // namespace veza
