// WAL files in the repository: push, fetch, and what is there.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/seal.h"
#include "core/codec/stream.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"
#include "core/wal_index/segment_index.h"

namespace veza {

enum class PushOutcome {
  kStored,
  kAlreadyThere,  // the same content under this name: as good as stored
  // Not stored, because the file holds no WAL of its name and never did (FirstPage). Only for a
  // segment at or behind the point where the server left its timeline.
  kRecycled,
};

// Memory for sealing a WAL file in one piece, kept from one file to the next. Not thread-safe.
struct WalScratch {
  // How much that is for segments of this size.
  static std::size_t MemoryFor(std::uint64_t segment_size) {
    return segment_size + SealScratch::MemoryFor(segment_size) + MemoryOfIndexer(segment_size);
  }
  // What an indexer may keep. Segments that need more are rare.
  static std::size_t MemoryOfIndexer(std::uint64_t segment_size) {
    return (1U << 20) + segment_size / 4;
  }
  // Larger files are read and sealed piece by piece.
  static constexpr std::uint64_t kLargest = 64U << 20;

  Bytes plain;
  SealScratch seal;
  std::unique_ptr<SegmentIndexer> indexer;  // made when it is needed
};

struct SealOptions {
  std::optional<int> compression_level{};  // the repository's unless given
  std::size_t memory = 32U << 20;          // a larger sealed file goes to a temporary file
  WalScratch* scratch = nullptr;           // null: it is read and sealed piece by piece
  bool index = false;                      // a whole segment: make its index
  // As in StreamOptions; of whole segments.
  std::function<void(const ContentDigest&)> on_digest{};
  std::function<SegmentOrigin()> origin{};
};

// A WAL file that is compressed, sealed and waits to be stored.
struct SealedWalFile {
  std::string file;
  std::string path;  // where it lies
  std::string object;
  struct stat source {};  // the file when it was opened
  bool recycled = false;  // it is not sealed, and Put() stores nothing
  // A segment that looks recycled, but the server may still be on its timeline. It is stored.
  bool holds_other_wal = false;
  // Where WAL with wal_level = minimal begins in the segment.
  std::optional<Lsn> minimal;
  // Only if it was asked for and could be made.
  std::optional<SegmentIndex> index;
  std::unique_ptr<StreamSealer> sealer;
  SealedStream sealed;
};

// A run of segments of one timeline without a hole.
struct WalRange {
  TimelineId timeline = 0;
  std::string first;
  std::string last;
  std::uint64_t segments = 0;
  TimePoint last_stored{};  // when the store received `last`, by its own clock
};

struct StoredSegment {
  SegmentNumber number = 0;
  std::uint64_t size = 0;  // of its object
};

// The archiver sends several segments at once, so a later one may arrive before an earlier one. For
// so long the earlier one may still be on its way.
inline constexpr std::chrono::seconds kUploadGrace{5};

// The name of the segment that a listed object holds, if it holds one. A store that was full, or
// lost its power, may leave objects of 0 bytes. Recovery cannot use them, so they count as missing.
std::optional<std::string> SegmentIn(const ObjectInfo& object);

// Has no state but the repository. Thread-safe.
class WalArchive {
 public:
  WalArchive(const Repository& repository, std::uint64_t system_identifier)
      : repository_(repository), system_identifier_(system_identifier) {}

  // Reads the file at `path` once, and seals it under the WAL file name `file`. Uses the CPU and,
  // when the memory is not enough, the disk, but not the store.
  Result<SealedWalFile> Seal(const std::string& file, const std::string& path,
                             const SealOptions& options = {}) const;
  // Stores the file durably. kConflict when the repository holds other content under its name; the
  // message says which node wrote that, and when.
  Result<PushOutcome> Put(const SealedWalFile& sealed) const;

  // kConflict, as from Put(), when the file at `path` differs from the one in the repository. The
  // repository must hold it. When the file at `path` is gone, or was recycled while it was read,
  // that is no conflict: the server gives up only what it has archived itself.
  Status RequireSame(const std::string& file, const std::string& path) const;

  // Writes the WAL file to a temporary file beside `destination`, and renames that when it is whole
  // and verified. It is not synced: recovery syncs what it keeps (KeepFileRestoredFromArchive), and
  // asks again after a crash. kNotFound when the repository was reached and does not hold the file.
  Status Fetch(const std::string& file, const std::string& destination) const;

  // The largest size of a WAL file of that kind.
  static std::uint64_t LargestContent(WalFileKind kind, std::uint64_t segment_size);

  // Hands the content of a WAL file to `sink`, piece by piece.
  Status Read(const std::string& file, const std::function<Status(ByteView)>& sink) const;
  // The whole content of a history file, or of a segment in which a point in time is looked for.
  Result<std::string> FetchText(const std::string& file) const;

  // What the object says of the file: its size and digest. Takes a short ranged read.
  Result<ObjectAttributes> Attributes(const std::string& file) const;

  // Of a file in a pg_wal.
  Result<ContentDigest> DigestOfFile(const std::string& path, DigestMethod method) const;

  // Whether the repository holds the file. An object of 0 bytes holds none: a store that was full,
  // or lost power, may leave one.
  Result<bool> Contains(const std::string& file) const;
  // Whether there is an object of its name, even one of 0 bytes: the file cannot be stored then.
  Result<bool> IsTaken(const std::string& file) const;
  // kDataCorrupted, with a hint, when its object has 0 bytes.
  Status RequireNotEmpty(const std::string& file) const;

  // Missing(), FirstOf(), Stored() and Ranges() ignore objects of 0 bytes as well.

  // Names of segments from `first` to `last` (of one timeline) that the repository lacks, at most
  // `limit` of them.
  Result<std::vector<std::string>> Missing(TimelineId timeline, SegmentNumber first,
                                           SegmentNumber last, std::uint64_t segment_size,
                                           std::size_t limit) const;

  // The first segment of the timeline from `first` to `last` that the repository has. Takes one
  // listing, which ends there.
  Result<std::optional<SegmentNumber>> FirstOf(TimelineId timeline, SegmentNumber first,
                                               SegmentNumber last,
                                               std::uint64_t segment_size) const;

  // The segments of the timeline from `first` to `last` that the repository has, with the sizes of
  // their objects, in order. Takes one listing, which ends there.
  Result<std::vector<StoredSegment>> Stored(TimelineId timeline, SegmentNumber first,
                                            SegmentNumber last, std::uint64_t segment_size) const;

  // Every timeline of which the repository has any file, ascending.
  Result<std::vector<TimelineId>> Timelines() const;

  // Unbroken ranges, ordered by timeline and position. With `from`, the name of a segment, only
  // from there on, so that not the whole archive is listed; a few segments before it may be
  // included.
  Result<std::vector<WalRange>> Ranges(std::uint64_t segment_size,
                                       const std::string& from = {}) const;

 private:
  const Repository& repository_;
  std::uint64_t system_identifier_;
};

}  // namespace veza
