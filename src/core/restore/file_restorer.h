// Writes the files of a restore: finds the place of each path, creates directories and files,
// writes extents from any thread, and finishes a file when its last extent is there.
//
// The manifest may be somebody else's work: with cipher none anybody who can write to the
// repository can have made it. So nothing is written outside the directories that the plan names.
// Paths have no "..", a directory is made or is a plain one (no link is followed), and a file or
// directory is only made in one that the manifest has named before (manifest_rules.h). That matters
// in a delta, too: what is there and was not looked at (UnknownNames::kKeep) may be a link.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/manifest.h"
#include "core/restore/plan.h"

namespace veza {

// A file that still waits for extents. Shared by the threads that bring them.
struct PendingFile {
  std::string path;  // absolute
  std::uint32_t mode = 0;
  std::int64_t mtime = 0;
  bool created = false;  // before the threads see it; otherwise the one extent creates it
  bool reused = false;   // it was there before, and may hold what the backup has
  std::atomic<std::size_t> extents_left{0};
};

// A part of an extent's plain text and its place in a file.
struct FilePiece {
  std::uint32_t plain_offset = 0;
  std::uint32_t length = 0;
  std::uint64_t file_offset = 0;
};

// What a restore sets of the permissions that a backup has recorded: never set-user-ID,
// set-group-ID or the sticky bit, nothing for others, and no writing for the group. PostgreSQL has
// 0700 and 0750 for its directories, 0600 and 0640 for its files; a script in the data directory
// stays executable.
inline constexpr std::uint32_t kPermittedModes = 0750;

class FileRestorer {
 public:
  explicit FileRestorer(const RestorePlan& plan);

  // The data directory and the tablespace locations, then whatever the manifest says, in its order.
  // For a delta CreateOtherRoots() comes first: it makes sure that no server starts from the
  // directory any more, claims the other roots (existing_directory.h), which nobody else may use by
  // now, and then what does not belong is removed (sweep.h).
  // Fails with kFailedPrecondition, and leaves a delta as it was, when a server runs there by now.
  Status CreateRoot() const;
  // The data directory alone, if it is not there.
  Status CreateTarget() const;
  // The tablespaces' locations, and the directory that pg_wal is a link to.
  Status CreateOtherRoots() const;
  // Links pg_wal. But for a delta claims the other roots as well.
  Status LinkOtherRoots() const;
  // Not thread-safe. A directory that its owner may not write gets its permissions at the end.
  Status CreateDirectory(const DirectoryRecord& record);
  // The file will be given `extents` extents; the one that brings all of it (`one_brings_all`) also
  // creates it. Holes need no more than the file's size.
  Result<std::shared_ptr<PendingFile>> CreateFile(const FileRecord& record, std::size_t extents,
                                                  bool one_brings_all) const;

  // Whether what the extent would bring is there already. `buffer` has room for its plain text.
  Result<bool> Holds(const PendingFile& file, std::span<const FilePiece> pieces,
                     const Extent& extent, MutableByteView buffer) const;
  // Instead of WriteExtent(), with the same result.
  Result<bool> KeepExtent(PendingFile& file) const;

  // Thread-safe for different extents. True: that was the file's last.
  Result<bool> WriteExtent(PendingFile& file, std::span<const FilePiece> pieces,
                           ByteView plain) const;

  // Links to the tablespaces, tablespace_map, the list of empty databases, recovery settings and
  // signal file.
  Status WriteServerFiles() const;
  // Makes everything durable, then gives pg_control its name: only now can a server be started.
  Status SyncAndComplete() const;

 private:
  // The part of a delta's CreateRoot() that is undone when it fails.
  Status Begin(const std::string& marker, std::vector<std::string>* claimed) const;
  Status RemoveControlFile() const;
  Status WriteDirectoryNote() const;
  // False: there is nothing to build upon.
  Result<bool> ReuseFile(PendingFile& file, const FileRecord& record) const;
  std::string Locate(const std::string& path) const;
  bool IsRoot(const std::string& path) const;
  Status LinkTablespaces() const;
  Status ListEmptyDatabases() const;
  Status WriteRecoverySettings() const;
  Status RestrictDirectories() const;

  const RestorePlan& plan_;
  // Mode by recorded path: a directory comes before what is in it. Each once, however often a
  // manifest that somebody has made up names it.
  std::map<std::string, std::uint32_t> restricted_directories_;
};

}  // namespace veza
