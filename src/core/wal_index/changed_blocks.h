// Collects the blocks that a segment changes, and writes the part `blocks` of its index.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "core/codec/varint.h"
#include "core/wal_index/relation_table.h"

namespace veza {

// Not thread-safe. Memory: 16 bytes for each block that changes, and some that are counted twice.
class ChangedBlocks {
 public:
  ChangedBlocks() { Clear(); }

  void Clear();
  // `fork` is a number of the relation table.
  void Add(std::uint32_t fork, std::uint32_t block) {
    const std::uint64_t key = std::uint64_t{fork} << 32 | block;
    std::uint64_t& recent = recent_[(block ^ fork * 0x9E37U) % kRecent];
    if (recent == key) {
      return;
    }
    recent = key;
    keys_.push_back(key);
    if (keys_.size() >= compact_at_) {
      Compact();
    }
  }
  Bytes Encode(const RelationTable& relations);
  // In bytes.
  std::size_t memory() const {
    return (keys_.capacity() + scratch_.capacity()) * sizeof(std::uint64_t) + encoded_.memory();
  }

 private:
  static constexpr std::size_t kRecent = 2048;

  void Compact();

  // Most blocks change many times in a row.
  std::array<std::uint64_t, kRecent> recent_{};
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint64_t> scratch_;
  std::size_t compact_at_ = 0;
  VarintWriter encoded_;
};

}  // namespace veza
