// The records of the files in a backup, by their paths, for the diff or incr that builds on it.
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

// Whether the error tells that a part of a backup on which another builds is missing, or is not
// what was written, and not that the store does not answer or a local file cannot be used. Then the
// pages are compared with nothing, or an older backup is the parent.
bool IsDamageOfParent(const Error& error);

// The records lie in an unnamed temporary file in the repository's spill directory. Each takes 16
// bytes of memory, so a million files take 16 MB, whatever their size. Thread-safe after Load().
class ParentIndex {
 public:
  // Reads the whole manifest of `parent`. The errors are those of ReadManifest().
  static Result<std::unique_ptr<ParentIndex>> Load(const Repository& repository,
                                                   const BackupSummary& parent);

  // The backups in whose packs the parent's files are: the parent itself, then those that it names.
  // Extent::source and PackRecord::source here number them from 1.
  const std::vector<SourceBackup>& sources() const { return sources_; }

  // Nothing when the parent has no such file. In the record only path, size, extents and pages are
  // filled in.
  Result<std::optional<FileRecord>> Find(const std::string& path) const;

  // Every pack that the parent's manifest lists.
  const std::vector<PackRecord>& packs() const { return packs_; }
  // The pack of an extent that is no hole. Null when the manifest does not list it.
  const PackRecord* FindPack(const Extent& extent) const;
  // Checks by listings that all packs are there, with their sizes. kDataCorrupted otherwise: what
  // is built on them would be lost, too.
  Status RequirePacks(const Repository& repository) const;
  // The name of a pack from packs().
  std::string NameOf(const PackRecord& pack) const;

 private:
  ParentIndex() = default;
  Status Take(ManifestRecord&& record);
  Status Append(const FileRecord& file);
  Status FlushBuffer();

  std::string directory_;
  UniqueFd fd_;
  Bytes buffer_;  // records that are not in the file yet
  std::uint64_t written_ = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places_;  // hash of the path, offset
  std::vector<PackRecord> packs_;                                // by source and number
  std::vector<SourceBackup> sources_;
};

}  // namespace veza
