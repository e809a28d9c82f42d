// Counts what was written in each minute of the server's clock.
#pragma once

#include <cstdint>
#include <vector>

#include "core/wal_index/segment_index.h"

namespace veza {

// Not thread-safe. The list is bounded: if there are more than kIndexMostMinutes, each entry
// becomes one of two minutes, of four, and so on.
class MinuteList {
 public:
  void Clear();
  // What follows counts for its minute.
  void AddEnd(TimePoint time, bool committed);
  void AddBytes(std::uint64_t bytes, std::uint64_t images, std::uint64_t image_bytes) {
    MinuteOfWal& minute = minutes_[current_];
    minute.bytes += bytes;
    minute.images += images;
    minute.image_bytes += image_bytes;
  }
  void MoveTo(SegmentSummary& summary);

 private:
  void Find(std::int64_t minute);
  void Coarsen();

  std::vector<MinuteOfWal> minutes_;  // ascending
  std::size_t current_ = 0;
  bool has_end_ = false;
  std::uint64_t each_ = 1;
};

}  // namespace veza
