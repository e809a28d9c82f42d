// Makes the index of archived WAL (core/wal_index) from the repository: what was never made, was
// lost, is damaged, or was made by an older reader. The scheduler calls it from time to time, and
// `vezactl index` does.
//
// Each segment is fetched, checked against the digest in its object, and read with its CRCs. New
// objects are written before those that they replace are removed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"

namespace veza {

// How long a segment is left to the archiver, which stores its index with those of its neighbours.
inline constexpr std::chrono::minutes kIndexGrace{15};
// The most segments that one call makes the index of, whatever it is asked for.
inline constexpr std::size_t kMostSegmentsIndexed = 1'000'000;

struct IndexBuildOptions {
  std::uint64_t system_identifier = 0;
  std::uint64_t segment_size = 0;
  std::optional<TimelineId> timeline{};
  // Of each timeline; both included.
  std::optional<SegmentNumber> first{};
  std::optional<SegmentNumber> last{};
  bool all = false;  // also what has an index
  // Open the index objects, and make anew what is damaged or was made from another WAL object.
  // Without it their names are trusted.
  bool open_objects = false;
  std::chrono::seconds grace{0};  // segments that were stored in this time are left alone
  std::size_t most_segments = kMostSegmentsIndexed;  // the newest of what is missing
  // WAL objects that are known to be unreadable. They are counted and not read again.
  std::set<std::string> unreadable{};
  int jobs = 1;  // threads, each with one segment
};

// Any thread may read it meanwhile.
struct IndexBuildProgress {
  std::atomic<std::uint64_t> segments_total{0};
  std::atomic<std::uint64_t> segments{0};  // that were read
  std::atomic<std::uint64_t> bytes_read{0};
};

struct IndexFailure {
  std::string object;  // a WAL object that cannot be read
  Error error;
};
inline constexpr std::size_t kMostIndexFailures = 100;

struct IndexReport {
  std::uint64_t archived = 0;          // segments in the range
  std::uint64_t missing = 0;           // of these: without an index before
  std::uint64_t made = 0;              // segments
  std::uint64_t objects = 0;           // index objects that were written
  std::uint64_t removed = 0;           // index objects that were removed
  std::uint64_t undeletable = 0;       // that were replaced, and stay: kPermissionDenied
  std::uint64_t left = 0;              // segments without an index that most_segments has left
  std::uint64_t failed = 0;            // segments that cannot be read, known ones as well
  std::vector<IndexFailure> failures;  // of those that were read; at most kMostIndexFailures
};

// Memory: about 40 bytes for each segment that it makes the index of, and for each job one segment
// with its index. Damaged WAL is in the report. Errors are those of the store and of
// ListIndexes(), before anything is written or removed, and kCancelled: objects that were written
// until then stay.
Result<IndexReport> BuildIndex(const Repository& repository, const IndexBuildOptions& options,
                               IndexBuildProgress& progress);

}  // namespace veza
