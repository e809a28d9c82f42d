#include "core/wal_index/changed_blocks.h"

#include <algorithm>

#include "core/codec/varint.h"
#include "core/wal_index/radix_sort.h"

namespace veza {
namespace {

constexpr std::size_t kLeastToCompact = std::size_t{1} << 20;
constexpr std::uint32_t kLastBlock = 0xFFFF'FFFE;  // the last but one number

// The runs of one fork. `keys` are ordered, and have no duplicates.
void PutRuns(VarintWriter& to, const std::uint64_t* key, const std::uint64_t* end) {
  std::int64_t last = -1;
  while (key != end) {
    const std::uint64_t* const first = key;
    do {
      ++key;
    } while (key != end && *key == *first + static_cast<std::uint64_t>(key - first));
    const auto block = static_cast<std::int64_t>(*first & 0xFFFF'FFFF);
    const std::int64_t length = key - first;
    to.Put(static_cast<std::uint64_t>(block - last) << 1 | (length > 1 ? 1 : 0));
    if (length > 1) {
      to.Put(static_cast<std::uint64_t>(length - 2));
    }
    last = block + length - 1;
  }
  to.Put(0);
}

void PutFork(VarintWriter& to, const RelationFork& fork) {
  to.Put(fork.file.tablespace);
  to.Put(fork.file.database);
  to.Put(fork.file.relation);
  to.Put(fork.fork);
}

}  // namespace

void ChangedBlocks::Clear() {
  recent_.fill(~std::uint64_t{0});
  keys_.clear();
  compact_at_ = kLeastToCompact;
}

void ChangedBlocks::Compact() {
  RadixSort(keys_, scratch_);
  keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
  compact_at_ = std::max(kLeastToCompact, 2 * keys_.size());
}

Bytes ChangedBlocks::Encode(const RelationTable& relations) {
  Compact();
  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::vector<Range> ranges(relations.size());
  for (std::size_t at = 0; at < keys_.size();) {
    Range& range = ranges[keys_[at] >> 32];
    range.begin = at;
    const std::uint64_t fork = keys_[at] >> 32;
    while (at < keys_.size() && keys_[at] >> 32 == fork) {
      ++at;
    }
    range.end = at;
  }
  encoded_.Clear();
  for (const std::uint32_t fork : relations.Ordered()) {
    if (ranges[fork].begin != ranges[fork].end) {
      PutFork(encoded_, relations[fork]);
      PutRuns(encoded_, keys_.data() + ranges[fork].begin, keys_.data() + ranges[fork].end);
    }
  }
  return {encoded_.written().begin(), encoded_.written().end()};
}

Status ReadIndexedBlocks(ByteView blocks, const BlockVisitor& visit) {
  const auto damaged = [](std::string_view what) {
    return MakeError(ErrorCode::kDataCorrupted, "the index's list of blocks is damaged: {}", what);
  };
  VarintReader reader(blocks);
  std::optional<RelationFork> before;
  while (reader.left() > 0) {
    RelationFork fork;
    fork.file.tablespace = static_cast<std::uint32_t>(reader.Take(UINT32_MAX));
    fork.file.database = static_cast<std::uint32_t>(reader.Take(UINT32_MAX));
    fork.file.relation = static_cast<std::uint32_t>(reader.Take(UINT32_MAX));
    fork.fork = static_cast<std::uint8_t>(reader.Take(kInitFork));
    if (reader.failed() || (before && fork <= *before)) {
      return damaged("it names a relation that cannot follow");
    }
    before = fork;
    std::uint64_t next = 0;  // the first block that may follow
    std::uint64_t word = reader.Take(2 * (std::uint64_t{kLastBlock} + 1) + 1);
    if (word == 0) {
      return damaged("it names a relation without blocks");
    }
    for (bool is_first = true; word != 0; is_first = false) {
      const std::uint64_t gap = word >> 1;
      const std::uint64_t length = (word & 1) != 0 ? reader.Take(kLastBlock) + 2 : 1;
      const std::uint64_t first = next + gap - 1;
      if (reader.failed() || gap == 0 || (gap == 1 && !is_first) ||
          first + length > std::uint64_t{kLastBlock} + 1) {
        return damaged("it names blocks that cannot follow");
      }
      RETURN_IF_ERROR(
          visit(fork, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(length)));
      next = first + length;
      word = reader.Take(2 * (std::uint64_t{kLastBlock} + 1) + 1);
    }
    if (reader.failed()) {
      return damaged("it ends in the middle");
    }
  }
  return Ok();
}

}  // namespace veza
