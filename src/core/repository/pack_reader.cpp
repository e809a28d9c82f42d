#include "core/repository/pack_reader.h"

#include <algorithm>

#include "core/codec/frame_reader.h"
#include "core/repository/manifest.h"

namespace veza {

namespace {

// If the bytes between two extents are no more than this, they are fetched and dropped, which is
// cheaper than another request.
constexpr std::uint64_t kLargestGap = 256U << 10;

Error Damaged(const std::string& name, std::uint64_t frame, const char* what) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\": extent {} {}", name, frame, what)
      .WithHint("The object is damaged. Restore another backup.");
}

std::uint64_t EndOf(const Extent& extent) {
  return extent.offset + extent.stored;
}

}  // namespace

Status PackReader::Read(const std::string& name, const PackRecord& record,
                        std::span<const Extent> extents, const ExtentVisitor& visit) {
  // ReadManifest() refuses such a record as well.
  if (record.digest == DigestMethod::kGmac && repository_.seal_policy().key == nullptr) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "object \"{}\" has keyed digests, although it is not encrypted", name);
  }
  digest_ = record.digest;
  return extents.size() == record.frames ? ReadWhole(name, extents, visit)
                                         : ReadParts(name, record, extents, visit);
}

Status PackReader::ReadWhole(const std::string& name, std::span<const Extent> extents,
                             const ExtentVisitor& visit) {
  std::size_t next = 0;
  FrameReader reader(repository_.seal_policy(), ObjectKind::kPack, name);
  const auto take = [&](std::uint64_t number, std::uint64_t offset, const ObjectOpener& opener,
                        ByteView frame) -> Status {
    if (next >= extents.size()) {
      return Damaged(name, number, "is not in the manifest");
    }
    const Extent& extent = extents[next];
    if (extent.frame != number || extent.offset != offset || extent.stored != frame.size()) {
      return Damaged(name, number, "is not where the manifest says");
    }
    ASSIGN_OR_RETURN(const ByteView plain, OpenExtent(opener, extent, frame));
    return visit(next++, plain);
  };
  RETURN_IF_ERROR(GetPartOfBackup(repository_, name, {}, [&](ByteView piece) {
    on_bytes_(piece.size());
    return reader.Feed(piece, take);
  }));
  RETURN_IF_ERROR(reader.Finish());
  if (next != extents.size()) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" holds {} extents instead of {}",
                     name, next, extents.size());
  }
  return Ok();
}

Status PackReader::ReadParts(const std::string& name, const PackRecord& record,
                             std::span<const Extent> extents, const ExtentVisitor& visit) {
  ASSIGN_OR_RETURN(
      const ObjectOpener opener,
      ObjectOpener::Create(repository_.seal_policy(), ObjectKind::kPack, name, record.header));
  for (std::size_t first = 0; first < extents.size();) {
    std::size_t end = first + 1;
    while (end < extents.size() && extents[end].offset >= EndOf(extents[end - 1]) &&
           extents[end].offset - EndOf(extents[end - 1]) <= kLargestGap) {
      ++end;
    }
    RETURN_IF_ERROR(ReadRange(opener, extents, first, end - first, visit));
    first = end;
  }
  return Ok();
}

Status PackReader::ReadRange(const ObjectOpener& opener, std::span<const Extent> extents,
                             std::size_t first, std::size_t count, const ExtentVisitor& visit) {
  const std::string& name = opener.object_name();
  const std::uint64_t begin = extents[first].offset;
  const std::size_t end = first + count;
  std::uint64_t position = begin;
  std::size_t next = first;
  frame_.clear();
  const auto take = [&](ByteView piece) -> Status {
    on_bytes_(piece.size());
    while (!piece.empty() && next < end) {
      const Extent& extent = extents[next];
      const std::uint64_t wanted_from = extent.offset + frame_.size();
      const auto skipped =
          static_cast<std::size_t>(std::min<std::uint64_t>(wanted_from - position, piece.size()));
      piece = piece.subspan(skipped);
      position += skipped;
      const std::size_t taken = std::min(extent.stored - frame_.size(), piece.size());
      frame_.insert(frame_.end(), piece.begin(),
                    piece.begin() + static_cast<std::ptrdiff_t>(taken));
      piece = piece.subspan(taken);
      position += taken;
      if (frame_.size() == extent.stored) {
        ASSIGN_OR_RETURN(const ByteView plain, OpenExtent(opener, extent, frame_));
        RETURN_IF_ERROR(visit(next, plain));
        frame_.clear();
        ++next;
      }
    }
    return Ok();
  };
  RETURN_IF_ERROR(
      GetPartOfBackup(repository_, name, {begin, EndOf(extents[end - 1]) - begin}, take));
  if (next != end) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is truncated", name)
        .WithHint("The object is damaged. Restore another backup.");
  }
  return Ok();
}

Result<ByteView> PackReader::OpenExtent(const ObjectOpener& opener, const Extent& extent,
                                        ByteView frame) {
  ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(extent.frame, frame, opened_));
  ByteView plain = opened_;
  if ((flags & kFrameStored) == 0) {
    const MutableByteView into(plain_.data(), extent.length);
    if (!decompressor_.Decompress(opened_, into)) {
      return Damaged(opener.object_name(), extent.frame, "does not decompress to its size");
    }
    plain = into;
  }
  if (plain.size() != extent.length ||
      DigestExtent(plain, digest_, repository_.seal_policy().key.get()) != extent.digest) {
    return Damaged(opener.object_name(), extent.frame, "does not match its digest");
  }
  return plain;
}

}  // namespace veza
