// What a full backup holds, for the diff that refers to it: the record of each file by its path.
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

// The records are in an unnamed temporary file of the repository's spill directory, found by 16
// bytes of memory each: a million files cost 16 MB whatever their size. Thread-safe after Load().
class FullIndex {
 public:
  // Reads the whole manifest of `full`; errors as ReadManifest's.
  static Result<std::unique_ptr<FullIndex>> Load(const Repository& repository,
                                                 const BackupSummary& full);

  // Nothing when the full backup has no such file. Of the record, path, size and extents are filled
  // in; its extents say `of_full`.
  Result<std::optional<FileRecord>> Find(const std::string& path) const;

  // Every pack of the full backup, as the manifest of a diff repeats them.
  const std::vector<PackRecord>& packs() const { return packs_; }
  // Null when there is none of this number.
  const PackRecord* FindPack(std::uint32_t number) const;

 private:
  FullIndex() = default;
  Status Take(ManifestRecord&& record);
  Status Append(const FileRecord& file);
  Status FlushBuffer();

  std::string directory_;
  UniqueFd fd_;
  Bytes buffer_;  // what is not in the file yet
  std::uint64_t written_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places_;  // hash of the path, offset
  std::vector<PackRecord> packs_;                                // by number
};

}  // namespace veza
