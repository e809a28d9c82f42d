// Whether the files of a cluster agree with themselves: its page checksums, and its visibility maps
// with the pages that they speak of.
//
// A bit "all-visible" of the map (access/visibilitymap.h, VISIBILITYMAP_ALL_VISIBLE) stands only
// where the page has PD_ALL_VISIBLE (storage/bufpage.h): who changes a page clears the map's bit if
// the page has the flag, and not otherwise. So a bit without the flag stays for ever, and
// index-only scans take for visible what was deleted. The other way round is allowed. PostgreSQL's
// own programs do not find it: pg_amcheck does not look, and pg_visibility is an extension.
//
// Layout, the same in 15 to 18: a page of the map has the usual header of 24 bytes, then two bits a
// heap block, the lowest first: all-visible, all-frozen.
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
  std::uint32_t segment_blocks = 131072;  // of a file of a relation
  bool has_checksums = false;
  int jobs = 1;  // threads
};

struct DataFileFinding {
  enum class Kind {
    kChecksum,        // the page's checksum is wrong, or a new page is not empty
    kNotAllVisible,   // the map has the bit, the page has not the flag
    kBeyondRelation,  // the map has the bit for a block that the relation does not have
  };
  Kind kind = Kind::kChecksum;
  std::string path;         // of the file, relative to the data directory; of the map's relation
  std::uint32_t block = 0;  // within the fork; of the map's relation
  bool operator==(const DataFileFinding&) const = default;
};

// More than these are only counted.
inline constexpr std::size_t kMostDataFileFindings = 100;

struct DataFilesReport {
  std::uint64_t pages = 0;                // whose checksums were verified
  std::uint64_t bad_checksums = 0;        // of them
  std::uint64_t mapped = 0;               // blocks that the maps call all-visible
  std::uint64_t bad_maps = 0;             // of them, kNotAllVisible or kBeyondRelation
  std::vector<DataFileFinding> findings;  // sorted
};

// "page checksum verification failed in file …".
std::string DescribeFinding(const DataFileFinding& finding);

// Nobody may write meanwhile, and the cluster must have been shut down cleanly: before recovery a
// map and its pages are from different times. Files that are none of a relation, such as
// "base/5/1259.bak", are passed over, and so is what a crash leaves behind the last whole page.
Result<DataFilesReport> CheckDataFiles(const DataFilesOptions& options,
                                       const Environment& environment);

}  // namespace veza
