#include "core/restore/pack_restorer.h"

#include <algorithm>

#include "core/codec/frame_reader.h"
#include "core/repository/manifest.h"

namespace veza {

namespace {

// Bytes between two extents that are rather fetched and dropped than left out by another request.
constexpr std::uint64_t kLargestGap = 256U << 10;

Error Damaged(const std::string& name, std::uint64_t frame, const char* what) {
  return MakeError(ErrorCode::kDataCorrupted, "object \"{}\": extent {} {}", name, frame, what)
      .WithHint("The object is damaged. Restore another backup.");
}

std::uint64_t EndOf(const Extent& extent) {
  return extent.offset + extent.stored;
}

}  // namespace

Status PackRestorer::Restore(PackJob& job) {
  std::sort(job.extents.begin(), job.extents.end(), [](const Destination& a, const Destination& b) {
    return a.extent.frame < b.extent.frame;
  });
  return job.wants_all() ? RestoreWhole(job) : RestoreParts(job);
}

Status PackRestorer::RestoreWhole(const PackJob& job) {
  const std::string& name = job.object_name;
  std::size_t next = 0;
  FrameReader reader(repository_.seal_policy(), ObjectKind::kPack, name);
  const auto visit = [&](std::uint64_t number, std::uint64_t offset, const ObjectOpener& opener,
                         ByteView frame) -> Status {
    if (next >= job.extents.size()) {
      return Damaged(name, number, "is not in the manifest");
    }
    const Destination& destination = job.extents[next];
    if (destination.extent.frame != number || destination.extent.offset != offset ||
        destination.extent.stored != frame.size()) {
      return Damaged(name, number, "is not where the manifest says");
    }
    ++next;
    return RestoreExtent(name, destination, opener, frame);
  };
  RETURN_IF_ERROR(GetPartOfBackup(repository_, name, {}, [&](ByteView piece) {
    progress_.bytes_fetched += piece.size();
    return reader.Feed(piece, visit);
  }));
  RETURN_IF_ERROR(reader.Finish());
  if (next != job.extents.size()) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" holds {} extents instead of {}",
                     name, next, job.extents.size());
  }
  return Ok();
}

Status PackRestorer::RestoreParts(const PackJob& job) {
  ASSIGN_OR_RETURN(const ObjectOpener opener,
                   ObjectOpener::Create(repository_.seal_policy(), ObjectKind::kPack,
                                        job.object_name, job.record.header));
  const std::span<const Destination> extents = job.extents;
  for (std::size_t first = 0; first < extents.size();) {
    std::size_t end = first + 1;
    while (end < extents.size() && extents[end].extent.offset >= EndOf(extents[end - 1].extent) &&
           extents[end].extent.offset - EndOf(extents[end - 1].extent) <= kLargestGap) {
      ++end;
    }
    RETURN_IF_ERROR(RestoreRange(job, opener, extents.subspan(first, end - first)));
    first = end;
  }
  return Ok();
}

Status PackRestorer::RestoreRange(const PackJob& job, const ObjectOpener& opener,
                                  std::span<const Destination> extents) {
  const std::uint64_t begin = extents.front().extent.offset;
  std::uint64_t position = begin;
  std::size_t next = 0;
  frame_.clear();
  const auto take = [&](ByteView piece) -> Status {
    progress_.bytes_fetched += piece.size();
    while (!piece.empty() && next < extents.size()) {
      const Extent& extent = extents[next].extent;
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
        RETURN_IF_ERROR(RestoreExtent(job.object_name, extents[next], opener, frame_));
        frame_.clear();
        ++next;
      }
    }
    return Ok();
  };
  RETURN_IF_ERROR(GetPartOfBackup(repository_, job.object_name,
                                  {begin, EndOf(extents.back().extent) - begin}, take));
  if (next != extents.size()) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is truncated", job.object_name)
        .WithHint("The object is damaged. Restore another backup.");
  }
  return Ok();
}

Status PackRestorer::RestoreExtent(const std::string& name, const Destination& destination,
                                   const ObjectOpener& opener, ByteView frame) {
  const Extent& extent = destination.extent;
  ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(extent.frame, frame, opened_));
  ByteView plain = opened_;
  if ((flags & kFrameStored) == 0) {
    const MutableByteView into(plain_.data(), extent.length);
    const Status status = decompressor_.Decompress(opened_, into);
    if (!status) {
      return Damaged(name, extent.frame, "does not decompress to its size");
    }
    plain = into;
  }
  if (plain.size() != extent.length || DigestExtent(plain) != extent.digest) {
    return Damaged(name, extent.frame, "does not match its digest");
  }
  ASSIGN_OR_RETURN(const bool file_done,
                   files_.WriteExtent(*destination.file, destination.pieces, plain));
  for (const FilePiece& piece : destination.pieces) {
    progress_.bytes_done += piece.length;
  }
  progress_.files_done += file_done ? 1 : 0;
  return Ok();
}

}  // namespace veza
