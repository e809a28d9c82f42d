// Restores the extents of packs into files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/pack_reader.h"
#include "core/repository/repository.h"
#include "core/restore/file_restorer.h"
#include "core/restore/restore.h"

namespace veza {

// An extent and the places of its bytes.
struct Destination {
  Extent extent;
  std::shared_ptr<PendingFile> file;
  std::vector<FilePiece> pieces;  // at least one
};

// The extents to restore from one pack.
struct PackJob {
  std::string object_name;
  PackRecord record;
  std::vector<Destination> extents;
};

// Not thread-safe: use one for each thread.
class PackRestorer {
 public:
  PackRestorer(const Repository& repository, const FileRestorer& files, RestoreProgress& progress)
      : files_(files),
        progress_(progress),
        key_(repository.seal_policy().key.get()),
        reader_(repository, [&progress](std::uint64_t bytes) { progress.bytes_fetched += bytes; }) {
  }

  // Sorts the extents of the job, removes those that are already in place, and writes the others.
  // Errors are those of PackReader, and those of writing.
  Status Restore(PackJob& job);

 private:
  Status KeepWhatIsThere(PackJob& job);
  void Count(const Destination& destination, bool file_done);

  const FileRestorer& files_;
  RestoreProgress& progress_;
  const DataKey* const key_;  // null without encryption
  PackReader reader_;
  Bytes buffer_;
};

}  // namespace veza
