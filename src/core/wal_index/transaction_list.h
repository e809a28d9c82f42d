// Collects how transactions ended and what they touched, and writes the part `transactions` of a
// segment's index.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "core/codec/varint.h"
#include "core/wal_index/relation_table.h"

namespace veza {

// The ends of transactions, in the order of WAL. Not thread-safe. Encodes at once: of an end remain
// about eight bytes.
class TransactionEnds {
 public:
  // `begin`: of the segment. Everything that was collected is forgotten.
  void Clear(Lsn begin);
  // `subtransactions` in place of those in `end`.
  void Add(const IndexedEnd& end, std::span<const std::uint32_t> subtransactions);
  void EncodeTo(Bytes& bytes) const;
  // In bytes.
  std::size_t memory() const;

 private:
  std::uint64_t count_ = 0;
  Lsn last_begin_;
  std::uint64_t last_time_ = 0;
  std::uint32_t last_xid_ = 0;
  VarintWriter begins_;
  VarintWriter sizes_;
  VarintWriter times_;
  VarintWriter xids_;
  VarintWriter kinds_;
  VarintWriter databases_;
  VarintWriter subtransactions_;
};

// How many blocks of which relations each transaction has changed. Few transactions differ in that
// from all others: each distinct list, a shape, is stored once. Not thread-safe.
class TouchedRelations {
 public:
  TouchedRelations();

  void Clear();
  // `file` is the number of a main fork in the relation table.
  void Add(std::uint32_t xid, std::uint32_t file) {
    Open& open = open_[xid % kOpen];
    if (open.xid != xid) {
      Close(open);
      open.xid = xid;
    }
    for (std::uint32_t i = 0; i < open.count; ++i) {
      if (open.touches[i].file == file) {
        ++open.touches[i].blocks;
        return;
      }
    }
    if (open.count == open.touches.size()) {
      Close(open);
    }
    open.touches[open.count++] = {file, 1};
  }
  void EncodeTo(const RelationTable& relations, Bytes& bytes);
  // In bytes.
  std::size_t memory() const;

 private:
  static constexpr std::size_t kOpen = 256;

  struct Touch {
    std::uint32_t file = 0;
    std::uint32_t blocks = 0;
    bool operator==(const Touch&) const = default;
  };
  // What was seen last of transactions that may go on.
  struct Open {
    std::uint32_t xid = 0;
    std::uint32_t count = 0;
    std::array<Touch, 15> touches{};
  };
  struct Shape {
    std::size_t begin = 0;  // in touches_
    std::uint32_t count = 0;
  };

  static void SortFew(std::span<Touch> touches);
  void Close(Open& open);
  // `touches` must be ordered by file.
  std::uint32_t ShapeOf(std::span<const Touch> touches);
  std::uint64_t HashOf(std::span<const Touch> touches) const;
  std::span<const Touch> TouchesOf(std::uint32_t shape) const {
    return std::span(touches_).subspan(shapes_[shape].begin, shapes_[shape].count);
  }
  void Grow();
  void JoinParts();
  void PutRelations(const RelationTable& relations, Bytes& bytes,
                    std::vector<std::uint32_t>& ranks) const;

  const std::uint64_t secret_;
  std::vector<Open> open_;
  std::vector<std::uint64_t> parts_;  // xid << 32 | shape
  std::vector<std::uint64_t> scratch_;
  std::vector<Touch> touches_;
  std::vector<Shape> shapes_;
  std::vector<std::uint32_t> slots_;  // shape + 1; 0: free
  VarintWriter put_shapes_;
  VarintWriter put_xids_;
  VarintWriter put_used_;
};

}  // namespace veza
