// Where a full backup's manifest says that its extents are: what diffs say of them is compared with
// it, so that each pack needs to be opened but once, however many diffs refer to it.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/repository/pack.h"

namespace veza {

// 8 bytes of memory for each extent. Not thread-safe.
class ExtentIndex {
 public:
  void Add(const Extent& extent);
  // Whether an extent was added with this place, these lengths and this digest. Another one is
  // taken for it once in 2^64 times.
  bool Contains(const Extent& extent) const;

 private:
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> fingerprints_;  // by pack, frame
};

}  // namespace veza
