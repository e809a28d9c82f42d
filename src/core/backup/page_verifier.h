// Verifies page checksums while a backup reads, and collects the failures.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"
#include "core/repository/backup_summary.h"

namespace veza {

// The file that the pages come from.
struct PageSource {
  int fd = -1;
  const std::string& path;         // in the data directory, for the record
  const std::string& source_path;  // for messages
  RelationPath relation;
};

// Thread-safe.
class PageVerifier {
 public:
  // Calls `warn` for each page that fails, up to kMaxChecksumFailurePages times. Does not check
  // pages with an LSN at or past `start_lsn`: they were changed since the backup began, and WAL
  // replay restores them. `segment_blocks` is the number of blocks in a file of a relation.
  PageVerifier(const Environment& environment, Lsn start_lsn, std::uint32_t block_size,
               std::uint32_t segment_blocks, std::function<void(const std::string&)> warn)
      : environment_(environment),
        start_lsn_(start_lsn),
        block_size_(block_size),
        segment_blocks_(segment_blocks),
        warn_(std::move(warn)) {}

  // Checks the pages that were read from `offset` of the file. A page that fails is read again into
  // its place, because it may have been read while it was being written.
  Status Verify(const PageSource& source, std::uint64_t offset, MutableByteView pages);

  // Fills in the number of failures and the pages, sorted.
  void Report(BackupSummary& summary);

 private:
  bool IsGood(const std::uint8_t* page, std::uint32_t block) const;
  void Record(const std::string& path, std::uint32_t block);

  const Environment& environment_;
  const Lsn start_lsn_;
  const std::uint32_t block_size_;
  const std::uint32_t segment_blocks_;
  const std::function<void(const std::string&)> warn_;

  std::mutex mutex_;
  std::uint64_t failures_ = 0;
  std::vector<ChecksumFailure> failed_pages_;
};

}  // namespace veza
