// Checks the files of a cluster: the page checksums, and the visibility maps against the pages that
// they describe.
//
// The map may have the bit "all-visible" (access/visibilitymap.h, VISIBILITYMAP_ALL_VISIBLE) only
// for a page with the flag PD_ALL_VISIBLE (storage/bufpage.h). PostgreSQL clears the map's bit on a
// change of the page only when the page has the flag. A bit without the flag therefore stays for
// ever, and index-only scans take deleted rows for visible. The flag without the bit is allowed.
// PostgreSQL's own programs do not find this: pg_amcheck does not check it, and pg_visibility is an
// extension.
//
// Layout in PostgreSQL 15 to 18: a page of the map has the usual header of 24 bytes, and then two
// bits for each heap block, from the lowest bit: all-visible, all-frozen.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"

namespace veza {

struct DataFilesOptions {
  WalkOptions walk;
  std::uint32_t block_size = 8192;
  std::uint32_t segment_blocks = 131072;  // blocks in one file of a relation
  bool has_checksums = false;
  int jobs = 1;  // threads
};

struct DataFileFinding {
  enum class Kind {
    kChecksum,        // the page's checksum is wrong, or a new page is not all zeros
    kNotAllVisible,   // the map has the bit, but the page does not have the flag
    kBeyondRelation,  // the map has the bit for a block past the end of the relation
  };
  Kind kind = Kind::kChecksum;
  std::string path;         // relative to the data directory; for a map: of its relation
  std::uint32_t block = 0;  // within the fork; for a map: of its relation
  bool operator==(const DataFileFinding&) const = default;
};

// At most this many findings are kept. Others are only counted.
inline constexpr std::size_t kMostDataFileFindings = 100;

struct DataFilesReport {
  std::uint64_t pages = 0;                // pages whose checksum was verified
  std::uint64_t bad_checksums = 0;        // wrong ones among `pages`
  std::uint64_t mapped = 0;               // blocks that the maps mark as all-visible
  std::uint64_t bad_maps = 0;             // wrong among `mapped`
  std::vector<DataFileFinding> findings;  // sorted
};

// Describes a finding as a message, for example "page checksum verification failed in file …".
std::string DescribeFinding(const DataFileFinding& finding);

// Checks all files of relations. The cluster must have been shut down cleanly, and nobody may write
// meanwhile. (Before recovery, a map and its pages are from different times.) Files that belong to
// no relation, such as "base/5/1259.bak", are ignored. So is an incomplete page at the end of a
// file, which a crash may leave.
Result<DataFilesReport> CheckDataFiles(const DataFilesOptions& options,
                                       const Environment& environment);

}  // namespace veza
