// Reads extents out of packs: a whole pack as one stream, or the parts that are wanted of it by
// ranged reads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "core/codec/zstd.h"
#include "core/error.h"
#include "core/repository/pack.h"
#include "core/repository/repository.h"

namespace veza {

// One object a thread. The repository must outlive it.
class PackReader {
 public:
  // `on_bytes` is told of what arrives from the store.
  PackReader(const Repository& repository, std::function<void(std::uint64_t bytes)> on_bytes)
      : repository_(repository), on_bytes_(std::move(on_bytes)) {}

  // `plain` is that of extents[index], opened and compared with its digest; valid during the call.
  using ExtentVisitor = std::function<Status(std::size_t index, ByteView plain)>;

  // Visits `extents`, which are sorted by frame, of the pack that `record` describes. When these
  // are all that it holds, it is read whole, to its last frame. kDataCorrupted, naming the object,
  // when it is missing, damaged or not what the manifest says.
  Status Read(const std::string& name, const PackRecord& record, std::span<const Extent> extents,
              const ExtentVisitor& visit);

 private:
  Status ReadWhole(const std::string& name, std::span<const Extent> extents,
                   const ExtentVisitor& visit);
  Status ReadParts(const std::string& name, const PackRecord& record,
                   std::span<const Extent> extents, const ExtentVisitor& visit);
  // `count` neighbours in the pack from extents[first] on, by one ranged read.
  Status ReadRange(const ObjectOpener& opener, std::span<const Extent> extents, std::size_t first,
                   std::size_t count, const ExtentVisitor& visit);
  Result<ByteView> OpenExtent(const ObjectOpener& opener, const Extent& extent, ByteView frame);

  const Repository& repository_;
  const std::function<void(std::uint64_t bytes)> on_bytes_;
  Decompressor decompressor_;
  Bytes opened_;
  Bytes frame_;
  Bytes plain_ = Bytes(kExtentSize);
};

}  // namespace veza
