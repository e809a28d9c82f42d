// Rules that the manifest of every backup obeys: where files and directories may be, and how large
// all files are together. A manifest that breaks them would make a restore fail half way, or would
// put files into the target that no backup contains. With cipher none anybody may have written it.
// Restore and verification both read manifests by ReadWithRules(), so that a verification finds
// what a restore would refuse.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <unordered_set>

#include "core/codec/digest.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"
#include "core/repository/repository.h"

namespace veza {

// Whether a backup can contain a file (`is_directory`: a directory) at this path, whatever else it
// contains. False for
// - a path that no file system can hold;
// - a path that no version of the walk (data_directory.h) visits: excluded names such as
//   postmaster.pid, the content of directories that are kept empty, and everything in pg_wal except
//   two directories;
// - names that a restore gives to its own files, and a directory where a restore writes a file.
bool CanBeInBackup(std::string_view path, bool is_directory);

// Checks the records of one manifest, in order. Takes about 40 bytes of memory for each path. Both
// functions return kDataCorrupted and name the path.
class ManifestRules {
 public:
  explicit ManifestRules(const BackupSummary& backup);

  // Checks one record: a directory precedes its content, no path occurs twice, and all files
  // together have no more bytes than backup.json says.
  Status Take(const ManifestRecord& record);
  // To be called after the last record. Checks that the counts match backup.json, and that the
  // manifest names what a restore cannot do without.
  Status Finish() const;

 private:
  // The first half of the path's SHA-256. Nobody can construct two paths with the same key.
  using Key = std::array<std::uint8_t, 16>;
  struct HashOfKey {
    std::size_t operator()(const Key& key) const {
      std::size_t hash = 0;
      std::memcpy(&hash, key.data(), sizeof hash);
      return hash;
    }
  };
  using Keys = std::unordered_set<Key, HashOfKey>;

  Key KeyOf(std::string_view path) const;
  Status TakePath(std::string_view path, bool is_directory);
  bool IsClaim(std::string_view path) const;
  Error Misplaced(std::string_view path) const;

  const BackupSummary& backup_;
  mutable Sha256 sha256_;
  Keys named_;        // every path that had a record
  Keys directories_;  // the directories among them, and those that a restore creates itself
  std::uint64_t size_ = 0;
  std::uint64_t files_ = 0;
};

// ReadManifest() with these rules. The visitor gets no record that breaks one.
Status ReadWithRules(const Repository& repository, const BackupSummary& backup,
                     const ManifestVisitor& visit);

}  // namespace veza
