// Finds the pages of a relation that were changed since a full backup, and packs them.
//
// The LSN of a page is the position of the last WAL record about the page. It does not tell three
// things:
// - A change that is not logged. A lost hint bit does no harm, but not every such change is a hint
//   bit. Without data checksums and wal_log_hints, VACUUM marks a page as all-visible without
//   moving its LSN (visibilitymap_set), and the bit of the visibility map that belongs to it is in
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

// `region` holds whole pages. An LSN below `first_lsn` is not a position in the WAL. WAL begins
// with segment number 1 (BootStrapXLOG; pg_resetwal never goes below it), so `first_lsn` is the
// size of a segment. Made-up LSNs are 1 (GistBuildLSN) or count from 1000 (FirstNormalUnloggedLSN).
// Those that count are in unlogged and temporary relations only, which are not in backups.
ChangesByLsn FindChangesByLsn(ByteView region, std::size_t page_size, Lsn since, Lsn first_lsn);

// The pages in which two regions of the same length differ.
PageIndexes FindDifferingPages(ByteView region, ByteView other, std::size_t page_size);

// Collects pages of one file until they fill an extent. Thread-safe.
class PageCollector {
 public:
  // The pages that are stored as one extent.
  struct Batch {
    Bytes content;
    std::vector<PageRun> runs;
  };

  // Adds one page. Returns a batch when that makes it full.
  std::optional<Batch> Add(std::uint32_t page_number, ByteView page);
  // The pages that are left. Nothing when there are none.
  std::optional<Batch> TakeRest();

 private:
  std::mutex mutex_;
  Batch batch_;
};

}  // namespace veza
