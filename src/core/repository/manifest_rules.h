// What the manifest of every backup keeps to: where its files and directories can be, and how large
// they are together. A manifest that does not keep to it would fail half way through a restore, or
// make of the target something that no backup holds; with cipher none anybody may have written it.
// A restore and a verification both read by ReadWithRules(): what the one refuses the other finds.
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

// Whether a backup can have a file (`is_directory`: a directory) at this path. Not asked: what else
// the backup has. False for
// - what no file system can hold;
// - what no version of the walk (data_directory.h) has visited: postmaster.pid and other names that
//   are left out, what is in directories that are kept empty, and all of pg_wal but two
//   directories;
// - names that a restore gives to files of its own; a directory, where a restore writes a file.
bool CanBeInBackup(std::string_view path, bool is_directory);

// Takes some 40 bytes of memory for each path. Both give kDataCorrupted, naming the path.
class ManifestRules {
 public:
  explicit ManifestRules(const BackupSummary& backup);

  // The directory comes before what it holds, no path comes twice, and all files together have no
  // more bytes than backup.json says.
  Status Take(const ManifestRecord& record);
  // After the last record: nothing is missing without which a restore could not end.
  Status Finish() const;

 private:
  // The beginning of the path's SHA-256: nobody can make up two paths with the same.
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
  Keys named_;        // all that had a record
  Keys directories_;  // those of them, and the places that a restore makes by itself
  std::uint64_t size_ = 0;
  std::uint64_t files_ = 0;
};

// ReadManifest() by these rules. A record that breaks one is not visited.
Status ReadWithRules(const Repository& repository, const BackupSummary& backup,
                     const ManifestVisitor& visit);

}  // namespace veza
