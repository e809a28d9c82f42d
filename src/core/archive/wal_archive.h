// WAL files in the repository: push, fetch, and what is there.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/stream.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"

namespace veza {

enum class PushOutcome {
  kStored,
  kAlreadyThere,  // the same content under this name: as good as stored
  // Not stored: the file holds no WAL of its name, and never did (FirstPage). Only of a timeline
  // that the server has left, at or behind the fork.
  kRecycled,
};

// Memory for sealing a WAL file in one piece, kept from one file to the next. Not thread-safe.
struct WalScratch {
  // For segments of this size.
  static std::size_t MemoryFor(std::uint64_t segment_size) {
    return segment_size + SealScratch::MemoryFor(segment_size);
  }
  // Larger files are read and sealed piece by piece.
  static constexpr std::uint64_t kLargest = 64U << 20;

  Bytes plain;
  SealScratch seal;
};

struct SealOptions {
  std::optional<int> compression_level{};  // the repository's unless given
  std::size_t memory = 32U << 20;          // beyond it, the sealed file goes to a temporary file
  WalScratch* scratch = nullptr;           // null: piece by piece
};

// A WAL file that is compressed, sealed and waits to be stored.
struct SealedWalFile {
  std::string file;
  std::string object;
  struct stat source {};  // of the file, as it was opened
  bool recycled = false;  // then it is not sealed, and Put() stores nothing
  // Of a segment: it looks recycled, but its timeline may be the server's own. It is stored.
  bool holds_other_wal = false;
  // Of a segment: where WAL with wal_level = minimal begins in it.
  std::optional<Lsn> minimal;
  std::unique_ptr<StreamSealer> sealer;
  SealedStream sealed;
};

// A run of segments of one timeline without a hole.
struct WalRange {
  TimelineId timeline = 0;
  std::string first;
  std::string last;
  std::uint64_t segments = 0;
  TimePoint last_stored{};  // when the store got `last`, by its own clock
};

// Stateless but for the repository; thread-safe.
// The archiver sends several segments at once, so a later one may be there before an earlier one:
// how long that is still on its way.
inline constexpr std::chrono::seconds kUploadGrace{5};

class WalArchive {
 public:
  WalArchive(const Repository& repository, std::uint64_t system_identifier)
      : repository_(repository), system_identifier_(system_identifier) {}

  // Reads the file at `path`, once, and seals it under the WAL file name `file`. Takes time of the
  // CPU and, beyond the memory it may have, of the disk; the store is not asked.
  Result<SealedWalFile> Seal(const std::string& file, const std::string& path,
                             const SealOptions& options = {}) const;
  // Durable when it returns. kConflict when the name holds other content; the message names who
  // wrote it and when.
  Result<PushOutcome> Put(const SealedWalFile& sealed) const;
  // Seal and Put.
  Result<PushOutcome> Push(const std::string& file, const std::string& path) const;

  // Whether the repository, which has the file, has it as it is at `path`: kConflict, as of Put(),
  // when not. A file that is no longer there, or was put to other use while it was read, is no
  // conflict: the server gives up only what it has archived itself.
  Status RequireSame(const std::string& file, const std::string& path) const;

  // Writes the WAL file to `destination`, under a temporary name beside it first, renamed when it
  // is whole and verified. Not synced: recovery syncs what it keeps (KeepFileRestoredFromArchive),
  // and asks again after a crash. kNotFound when the repository was reached and does not have it.
  Status Fetch(const std::string& file, const std::string& destination) const;

  // The most that a WAL file of that kind may hold.
  static std::uint64_t LargestContent(WalFileKind kind, std::uint64_t segment_size);

  // The whole content in memory: of a history file, or of a segment in which a moment is looked
  // for.
  Result<std::string> FetchText(const std::string& file) const;

  // An object of 0 bytes, which a store that was full or lost its power may leave, holds no file.
  Result<bool> Contains(const std::string& file) const;
  // Whether there is an object of its name, also one of 0 bytes, which is in the way of the file.
  Result<bool> IsTaken(const std::string& file) const;
  // kDataCorrupted, with what to do, when its object has 0 bytes.
  Status RequireNotEmpty(const std::string& file) const;

  // The three listings below pass over objects of 0 bytes as well.

  // Names of segments from `first` to `last` (of one timeline) that the repository lacks, at most
  // `limit` of them.
  Result<std::vector<std::string>> Missing(TimelineId timeline, SegmentNumber first,
                                           SegmentNumber last, std::uint64_t segment_size,
                                           std::size_t limit) const;

  // The first segment of the timeline from `first` to `last` that the repository has. One listing,
  // which ends there.
  Result<std::optional<SegmentNumber>> FirstOf(TimelineId timeline, SegmentNumber first,
                                               SegmentNumber last,
                                               std::uint64_t segment_size) const;

  // Every timeline of which the repository has any file, ascending.
  Result<std::vector<TimelineId>> Timelines() const;

  // Unbroken ranges, by timeline and position. With `from`, the name of a segment, of that one and
  // what comes behind it, and perhaps of a few before it: not all of the archive has to be listed.
  Result<std::vector<WalRange>> Ranges(std::uint64_t segment_size,
                                       const std::string& from = {}) const;

 private:
  const Repository& repository_;
  std::uint64_t system_identifier_;
};

}  // namespace veza
