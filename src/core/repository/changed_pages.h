// Which pages of a relation were changed since a full backup, and the packing of those that were.
//
// A page tells by its LSN: every change that WAL replay would have to bring back is stamped with
// the position of its record (access/transam/README, "the WAL rule"; 15 to 18). Hint bits may
// change without it, and may be lost without harm. Pages of zeroes have no LSN and count as
// changed.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/repository/lsn.h"
#include "core/repository/manifest.h"

namespace veza {

// Indexes of the pages in `region` (whole pages) that are new or whose LSN is at or past `since`.
std::vector<std::uint32_t> FindChangedPages(ByteView region, std::size_t page_size, Lsn since);

// Pages of one file that wait until there are enough of them for an extent. Thread-safe.
class PageCollector {
 public:
  // What is to be stored as one extent.
  struct Batch {
    Bytes content;
    std::vector<PageRun> runs;
  };

  // Adds one page. Returns a batch when that makes it full.
  std::optional<Batch> Add(std::uint32_t page_number, ByteView page);
  // What is left; nothing when there is none.
  std::optional<Batch> TakeRest();

 private:
  std::mutex mutex_;
  Batch batch_;
};

}  // namespace veza
