// The records of the files in a full backup, by their paths, for the diff that refers to it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/repository/manifest.h"
#include "core/storage/unique_fd.h"

namespace veza {

// The records lie in an unnamed temporary file in the repository's spill directory. Each takes 16
// bytes of memory, so a million files take 16 MB, whatever their size. Thread-safe after Load().
class FullIndex {
 public:
  // Reads the whole manifest of `full`. The errors are those of ReadManifest().
  static Result<std::unique_ptr<FullIndex>> Load(const Repository& repository,
                                                 const BackupSummary& full);

  // Nothing when the full backup has no such file. In the record only path, size and extents are
  // filled in. Its extents have `of_full` set.
  Result<std::optional<FileRecord>> Find(const std::string& path) const;

  // Every pack of the full backup, as the manifest of a diff lists them.
  const std::vector<PackRecord>& packs() const { return packs_; }
  // Null when no pack has this number.
  const PackRecord* FindPack(std::uint32_t number) const;

 private:
  FullIndex() = default;
  Status Take(ManifestRecord&& record);
  Status Append(const FileRecord& file);
  Status FlushBuffer();

  std::string directory_;
  UniqueFd fd_;
  Bytes buffer_;  // records that are not in the file yet
  std::uint64_t written_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places_;  // hash of the path, offset
  std::vector<PackRecord> packs_;                                // by number
};

}  // namespace veza
