#include "core/verify/extent_index.h"

#include "core/bytes.h"

namespace veza {

namespace {

// A pack has at most 32 MiB, and a frame at least 36 bytes. No pack can hold as many frames.
constexpr std::uint32_t kMostFrames = 1U << 20;

// Never returns 0, which stands for "no extent".
std::uint64_t Fingerprint(const Extent& extent) {
  const std::uint64_t lengths = std::uint64_t{extent.length} << 32 | extent.stored;
  std::uint64_t mixed = LoadLittleEndian<std::uint64_t>(extent.digest.data());
  for (const std::uint64_t value : {extent.offset, lengths}) {
    mixed = (mixed ^ value) * 0x9E3779B97F4A7C15U;
    mixed ^= mixed >> 32;
  }
  return mixed == 0 ? 1 : mixed;
}

}  // namespace

void ExtentIndex::Add(const Extent& extent) {
  if (extent.frame >= kMostFrames) {
    return;
  }
  std::vector<std::uint64_t>& of_pack = fingerprints_[extent.pack];
  if (of_pack.size() <= extent.frame) {
    of_pack.resize(extent.frame + 1);
  }
  of_pack[extent.frame] = Fingerprint(extent);
}

bool ExtentIndex::Contains(const Extent& extent) const {
  const auto of_pack = fingerprints_.find(extent.pack);
  return of_pack != fingerprints_.end() && extent.frame < of_pack->second.size() &&
         of_pack->second[extent.frame] == Fingerprint(extent);
}

}  // namespace veza
