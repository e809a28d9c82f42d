// WAL files in the repository: push, fetch, and what is there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/lsn.h"
#include "core/repository/repository.h"

namespace veza {

enum class PushOutcome {
  kStored,
  kAlreadyThere,  // the same content under this name: as good as stored
};

// A run of segments of one timeline without a hole.
struct WalRange {
  TimelineId timeline = 0;
  std::string first;
  std::string last;
};

// Stateless but for the repository; thread-safe.
class WalArchive {
 public:
  WalArchive(const Repository& repository, std::uint64_t system_identifier)
      : repository_(repository), system_identifier_(system_identifier) {}

  // Stores the file at `path` under the WAL file name `file`. Durable when it returns. kConflict
  // when the name holds other content; the message names who wrote it and when.
  Result<PushOutcome> Push(const std::string& file, const std::string& path) const;

  // Writes the WAL file to `destination`, under a temporary name beside it first, renamed when it
  // is whole and verified. Not synced: recovery syncs what it keeps (KeepFileRestoredFromArchive),
  // and asks again after a crash. kNotFound when the repository was reached and does not have it.
  Status Fetch(const std::string& file, const std::string& destination) const;

  // The whole content in memory; for history files.
  Result<std::string> FetchText(const std::string& file) const;

  Result<bool> Contains(const std::string& file) const;

  // Names of segments from `first` to `last` (of one timeline) that the repository lacks, at most
  // `limit` of them.
  Result<std::vector<std::string>> Missing(TimelineId timeline, SegmentNumber first,
                                           SegmentNumber last, std::uint64_t segment_size,
                                           std::size_t limit) const;

  // Unbroken ranges, by timeline and position.
  Result<std::vector<WalRange>> Ranges(std::uint64_t segment_size) const;

 private:
  const Repository& repository_;
  std::uint64_t system_identifier_;
};

}  // namespace veza
