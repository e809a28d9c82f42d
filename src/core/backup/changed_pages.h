// Which pages of a relation were changed since a full backup, and the packing of those that were.
//
// A page's LSN is that of the last WAL record about it. Three things are not told by it:
// - A change that is not logged. Hint bits may be lost without harm, but not every change without
// an
//   LSN is one: without data checksums and wal_log_hints VACUUM marks a page as all-visible without
//   moving its LSN (visibilitymap_set), and the bit of the visibility map that comes with it is in
//   another file. With one of the two (XLogHintBitIsNeeded()) every such change moves the LSN.
// - When a page was written that has a made-up LSN: 0 until the end of a GIN or SP-GiST build, 1
// after
//   a sorted GiST build. They are all lower than the first position that WAL can have.
// - Anything at all, where the file is a copy, or the time since the full cannot be vouched for.
// docs/postgres-facts.md ("What the LSN of a page tells") goes through the access methods. If LSNs
// may not be trusted, contents are compared.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/postgres/lsn.h"
#include "core/repository/manifest.h"

namespace veza {

// Indexes of pages in a region, in ascending order.
using PageIndexes = std::vector<std::uint32_t>;

struct ChangesByLsn {
  PageIndexes changed;  // new, or their LSN is at or past `since`
  PageIndexes unknown;  // not new, and their LSN is made up
};

// `region` holds whole pages. `first_lsn`: what is lower is no position in the WAL. Its first
// segment is number 1 (BootStrapXLOG, and pg_resetwal never goes below), so that is the size of a
// segment; made-up LSNs are 1 (GistBuildLSN) or count from 1000 (FirstNormalUnloggedLSN), and
// those that count on are in unlogged and temporary relations only, which no backup has.
ChangesByLsn FindChangesByLsn(ByteView region, std::size_t page_size, Lsn since, Lsn first_lsn);

// The pages in which two regions of the same length differ.
PageIndexes FindDifferingPages(ByteView region, ByteView other, std::size_t page_size);

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
