// The places of a backup's own extents, from its manifest. The references of others are compared
// with it. Each pack must therefore be opened only once, even when many diffs refer to it.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/repository/pack.h"

namespace veza {

// Needs 8 bytes of memory for each extent. Not thread-safe.
class ExtentIndex {
 public:
  void Add(const Extent& extent);
  // True when an extent with this place, these lengths and this digest was added. The probability
  // of a wrong match is 2^-64.
  bool Contains(const Extent& extent) const;

 private:
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> fingerprints_;  // by pack and frame
};

}  // namespace veza
