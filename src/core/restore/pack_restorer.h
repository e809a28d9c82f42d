// Fetches packs and puts their extents into files: a whole pack as one stream, or the parts that
// are wanted of it by ranged reads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/codec/zstd.h"
#include "core/error.h"
#include "core/repository/pack.h"
#include "core/repository/repository.h"
#include "core/restore/file_restorer.h"
#include "core/restore/restore.h"

namespace veza {

// An extent and where its bytes go.
struct Destination {
  Extent extent;
  std::shared_ptr<PendingFile> file;
  std::vector<FilePiece> pieces;  // at least one
};

// What is to be restored from one pack.
struct PackJob {
  std::string object_name;
  PackRecord record;
  std::vector<Destination> extents;
  bool wants_all() const { return extents.size() == record.frames; }
};

// One object a thread.
class PackRestorer {
 public:
  PackRestorer(const Repository& repository, const FileRestorer& files, RestoreProgress& progress)
      : repository_(repository), files_(files), progress_(progress) {}

  // kDataCorrupted, naming the object, when it is missing, damaged or not what the manifest says.
  // Sorts the extents of the job.
  Status Restore(PackJob& job);

 private:
  Status RestoreWhole(const PackJob& job);
  Status RestoreParts(const PackJob& job);
  // Neighbours in the pack, by one ranged read.
  Status RestoreRange(const PackJob& job, const ObjectOpener& opener,
                      std::span<const Destination> extents);
  Status RestoreExtent(const std::string& name, const Destination& destination,
                       const ObjectOpener& opener, ByteView frame);

  const Repository& repository_;
  const FileRestorer& files_;
  RestoreProgress& progress_;
  Decompressor decompressor_;
  Bytes opened_;
  Bytes frame_;
  Bytes plain_ = Bytes(kExtentSize);
};

}  // namespace veza
