// Writes the files of a restore. It finds the place of each path, creates directories and files,
// writes extents from any thread, and completes a file when its last extent is written.
//
// The manifest may be forged: with cipher none, anybody who can write to the repository may have
// written it. So nothing is written outside of the directories that the plan names. Paths contain
// no "..". A directory is created or is a plain one, no symbolic link is followed, and a file or
// directory is created only in a directory that the manifest has named before (manifest_rules.h).
// This matters in a delta, too, because existing names that were not checked (UnknownNames::kKeep)
// may be symbolic links.
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

// A file that still waits for extents. The threads that write them share it.
struct PendingFile {
  std::string path;  // absolute
  std::uint32_t mode = 0;
  std::int64_t mtime = 0;
  // Set before other threads see it; if false, the only extent creates the file.
  bool created = false;
  bool reused = false;  // the file existed, and may already hold content of the backup
  std::atomic<std::size_t> extents_left{0};
};

// A part of an extent's uncompressed content and its place in a file.
struct FilePiece {
  std::uint32_t plain_offset = 0;
  std::uint32_t length = 0;
  std::uint64_t file_offset = 0;
};

// The permission bits that a restore keeps. It never sets set-user-ID, set-group-ID or the sticky
// bit, no permissions for others, and no write permission for the group. PostgreSQL uses 0700 and
// 0750 for its directories, and 0600 and 0640 for its files. A script in the data directory stays
// executable.
inline constexpr std::uint32_t kPermittedModes = 0750;

class FileRestorer {
 public:
  explicit FileRestorer(const RestorePlan& plan);

  // Creates the data directory and marks it as the target of a restore (kUnfinishedMarker). After
  // that come the other roots, and then the directories and files of the manifest, in its order.
  //
  // For a delta, CreateOtherRoots() must be called before. CreateRoot() then also claims the other
  // roots (existing_directory.h), which nobody else may use by now, and removes pg_control, so that
  // no server can be started from the directory. Afterwards the caller removes what does not belong
  // there (sweep.h).
  //
  // kFailedPrecondition when a server runs in the directory by now; a delta's directory is then
  // unchanged.
  Status CreateRoot() const;
  // Creates the data directory alone, if it does not exist.
  Status CreateTarget() const;
  // Creates the tablespaces' locations, and the directory to which pg_wal is a link.
  Status CreateOtherRoots() const;
  // Creates the link pg_wal. Except for a delta, also claims the other roots.
  Status LinkOtherRoots() const;
  // Not thread-safe. A directory that its owner may not write to gets its permissions at the end.
  Status CreateDirectory(const DirectoryRecord& record);
  // Prepares a file that will be given `extents` extents. If one extent brings the whole file
  // (`one_brings_all`), writing it also creates the file. Holes only need the file's size.
  Result<std::shared_ptr<PendingFile>> CreateFile(const FileRecord& record, std::size_t extents,
                                                  bool one_brings_all) const;

  // Whether the file already holds what the extent would write. `digest` is the method of the
  // extent's pack, `key` the repository's. `buffer` must have room for the uncompressed content.
  struct ExtentToFind {
    const Extent& extent;
    DigestMethod digest = DigestMethod::kSha256;
    const DataKey* key = nullptr;
  };
  Result<bool> Holds(const PendingFile& file, std::span<const FilePiece> pieces,
                     const ExtentToFind& wanted, MutableByteView buffer) const;
  // Counts the extent as written without writing it. Returns the same as WriteExtent().
  Result<bool> KeepExtent(PendingFile& file) const;

  // Thread-safe for different extents. Returns whether it was the file's last extent.
  Result<bool> WriteExtent(PendingFile& file, std::span<const FilePiece> pieces,
                           ByteView plain) const;

  // Writes the links to the tablespaces, tablespace_map, the list of empty databases, the recovery
  // settings and the signal file.
  Status WriteServerFiles() const;
  // Makes everything durable, and then gives pg_control its name. A server can be started only
  // after that.
  Status SyncAndComplete() const;

 private:
  // The part of CreateRoot() that is undone when a delta fails there.
  Status Begin(const std::string& marker, std::vector<std::string>* claimed) const;
  Status RemoveControlFile() const;
  Status WriteDirectoryNote() const;
  // Returns false when there is no file that can be reused.
  Result<bool> ReuseFile(PendingFile& file, const FileRecord& record) const;
  std::string Locate(const std::string& path) const;
  bool IsRoot(const std::string& path) const;
  Status LinkTablespaces() const;
  Status ListEmptyDatabases() const;
  Status WriteRecoverySettings() const;
  Status RestrictDirectories() const;

  const RestorePlan& plan_;
  // The modes by recorded path, so that a directory precedes its content. Each path is stored once,
  // however often a forged manifest names it.
  std::map<std::string, std::uint32_t> restricted_directories_;
};

}  // namespace veza
