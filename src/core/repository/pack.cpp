#include "core/repository/pack.h"

#include <algorithm>

namespace veza {

namespace {

// Room for what may follow when a pack is just below its target size: one frame of the largest
// extent that could not be compressed, the overhead of sealing, and the last frame.
constexpr std::size_t kPackSlack = kExtentSize + (64U << 10);

}  // namespace

ExtentDigest DigestExtent(ByteView plain, DigestMethod method, const DataKey* key) {
  const ContentDigest whole = DigestContent(method, key, plain);
  ExtentDigest digest;
  std::copy_n(whole.bytes.begin(), digest.size(), digest.begin());
  return digest;
}

// The buffer is not zeroed, so that only the pages that are used take memory.
PackBuffer NewPackBuffer() {
  return std::make_unique_for_overwrite<std::uint8_t[]>(kPackTarget + kPackSlack);
}

PackBuilder::PackBuilder(NewPack pack, const SealPolicy& policy, Random& random, PackBuffer buffer)
    : pack_(std::move(pack)),
      sealer_(policy, ObjectKind::kPack, pack_.object_name, random),
      buffer_(std::move(buffer)) {
  const auto head = sealer_.Head({.node = pack_.node, .created = pack_.created});
  if (!head) {
    status_ = head.error();
    return;
  }
  std::copy(head->begin(), head->end(), buffer_.get());
  used_ = head->size();
}

PackBuilder::Place PackBuilder::Reserve(std::size_t plain) {
  const Place place{frames_++, used_, static_cast<std::uint32_t>(sealer_.FrameSize(plain))};
  used_ += place.stored;
  return place;
}

Status PackBuilder::Fill(const Place& place, std::uint32_t flags, ByteView plain) {
  return sealer_.Seal(place.frame, flags, plain, {buffer_.get() + place.offset, place.stored});
}

Status PackBuilder::Close() {
  RETURN_IF_ERROR(status_);
  extents_ = frames_;
  return Fill(Reserve(0), kFrameLast, {});
}

PackRecord PackBuilder::record() const {
  return {.number = pack_.number,
          .size = used_,
          .frames = extents_,
          .header = sealer_.header(),
          .digest = pack_.digest};
}

}  // namespace veza
