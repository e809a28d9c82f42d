// Which index objects there are, and which of them cover a stretch of WAL.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"
#include "core/wal_index/index_object.h"

namespace veza {

// An index object, by its name.
struct IndexName {
  std::string name;
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;
  std::string first;  // names of segments
  std::string last;
  std::uint32_t reader_version = 0;
};
// nullopt for any other name.
std::optional<IndexName> ParseIndexName(std::string_view name);

// All of a system, or those of one timeline; ordered by name. With `from`, the name of a segment,
// those that end before it are left out. At most limits::kIndexObjects:
// more is kDataCorrupted, and no index is used.
Result<std::vector<IndexName>> ListIndexes(const Repository& repository,
                                           std::uint64_t system_identifier,
                                           std::optional<TimelineId> timeline = std::nullopt,
                                           const std::string& from = {});

// Whether the error tells that an object, or the list of objects, cannot be used, whatever the
// reason: it is gone, damaged, of another key, not to be read. Not that the store does not answer.
// An index is then made up for by WAL itself: one bad object must not be in the way of anything.
bool IsOfTheObject(const Error& error);

// A choice that covers the segments `first` to `last` of a timeline, in order, and what no index
// covers. Of objects that overlap, one is enough for each segment: the one with the highest reader
// version that this program knows, then the longest.
struct IndexCover {
  struct Part {
    IndexName object;
    SegmentNumber first = 0;  // of these segments it is asked
    SegmentNumber last = 0;
  };
  std::vector<Part> parts;
  std::vector<std::pair<SegmentNumber, SegmentNumber>> missing;  // from and to, inclusive
};
IndexCover CoverSegments(std::span<const IndexName> indexes, SegmentNumber first,
                         SegmentNumber last, std::uint64_t segment_size);

}  // namespace veza
