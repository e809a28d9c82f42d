#include "core/codec/frame_reader.h"

#include <algorithm>
#include <utility>

namespace veza {

FrameReader::FrameReader(SealPolicy policy, ObjectKind kind, std::string object_name)
    : policy_(std::move(policy)), kind_(kind), object_name_(std::move(object_name)) {}

// Returns the size of the header or frame that starts with `begin`. Returns kFrameWordSize while
// `begin` is too short to tell. That value is unambiguous, because a whole frame is longer than its
// word.
Result<std::size_t> FrameReader::ItemSize(ByteView begin) const {
  if (!opener_) {
    return kObjectHeaderSize;
  }
  if (begin.size() < kFrameWordSize) {
    return kFrameWordSize;
  }
  return opener_->FrameSize(attributes_ ? next_number_ : kAttributesFrame, begin);
}

Status FrameReader::Take(ByteView item, const FrameVisitor& visit) {
  if (!opener_) {
    ASSIGN_OR_RETURN(opener_, ObjectOpener::Create(policy_, kind_, object_name_, item));
  } else if (!attributes_) {
    ASSIGN_OR_RETURN(attributes_, opener_->OpenAttributes(item));
  } else {
    const bool last = (LoadLittleEndian<std::uint32_t>(item.data()) & kFrameLast) != 0;
    if (last && kind_ == ObjectKind::kPack) {
      Bytes plain;
      ASSIGN_OR_RETURN(const std::uint32_t flags, opener_->Open(next_number_, item, plain));
      if (!plain.empty() || flags != kFrameLast) {
        return DamagedObject(object_name_, "its last frame is not empty");
      }
    } else {
      RETURN_IF_ERROR(visit(next_number_, offset_, *opener_, item));
    }
    ++next_number_;
    last_seen_ = last;
  }
  offset_ += item.size();
  return Ok();
}

Status FrameReader::Feed(ByteView piece, const FrameVisitor& visit) {
  while (!piece.empty()) {
    if (last_seen_) {
      return DamagedObject(object_name_, "bytes follow its last frame");
    }
    // A header or frame that lies whole in the piece is used in place. Only one that straddles
    // pieces is copied.
    ASSIGN_OR_RETURN(const std::size_t size,
                     ItemSize(pending_.empty() ? piece : ByteView(pending_)));
    if (pending_.empty() && size > kFrameWordSize && size <= piece.size()) {
      RETURN_IF_ERROR(Take(piece.first(size), visit));
      piece = piece.subspan(size);
      continue;
    }
    const ByteView part = piece.first(std::min(size - pending_.size(), piece.size()));
    pending_.insert(pending_.end(), part.begin(), part.end());
    piece = piece.subspan(part.size());
    if (pending_.size() == size && size > kFrameWordSize) {
      RETURN_IF_ERROR(Take(pending_, visit));
      pending_.clear();
    }
  }
  return Ok();
}

Status FrameReader::Finish() const {
  if (!last_seen_) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is truncated", object_name_)
        .WithHint(
            "The object is not as veza_backup wrote it. If the store keeps old versions, put an "
            "older one back. Otherwise use another backup.");
  }
  return Ok();
}

}  // namespace veza
