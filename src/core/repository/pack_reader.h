// Reads extents from packs: either a whole pack as one stream, or only the wanted parts by ranged
// reads.
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

// Not thread-safe: use one reader for each thread. The repository must outlive it.
class PackReader {
 public:
  // `on_bytes` is called with the number of bytes that each piece from the store has.
  PackReader(const Repository& repository, std::function<void(std::uint64_t bytes)> on_bytes)
      : repository_(repository), on_bytes_(std::move(on_bytes)) {}

  // `plain` is the uncompressed content of extents[index]. Its digest has been checked. It is valid
  // during the call only.
  using ExtentVisitor = std::function<Status(std::size_t index, ByteView plain)>;

  // Visits `extents`, which must be sorted by frame, of the pack that `record` describes. If they
  // are all extents of the pack, it is read whole. kDataCorrupted, naming the object, when it is
  // missing, damaged or does not match the manifest.
  Status Read(const std::string& name, const PackRecord& record, std::span<const Extent> extents,
              const ExtentVisitor& visit);

 private:
  Status ReadWhole(const std::string& name, std::span<const Extent> extents,
                   const ExtentVisitor& visit);
  Status ReadParts(const std::string& name, const PackRecord& record,
                   std::span<const Extent> extents, const ExtentVisitor& visit);
  // Reads `count` extents from extents[first] on, which lie close together in the pack, by one
  // ranged read.
  Status ReadRange(const ObjectOpener& opener, std::span<const Extent> extents, std::size_t first,
                   std::size_t count, const ExtentVisitor& visit);
  Result<ByteView> OpenExtent(const ObjectOpener& opener, const Extent& extent, ByteView frame);

  const Repository& repository_;
  const std::function<void(std::uint64_t bytes)> on_bytes_;
  DigestMethod digest_ = DigestMethod::kSha256;  // of the pack that is being read
  Decompressor decompressor_;
  Bytes opened_;
  Bytes frame_;
  Bytes plain_ = Bytes(kExtentSize);
};

}  // namespace veza
