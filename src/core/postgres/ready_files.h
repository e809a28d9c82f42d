// The server's own list of the WAL files that wait for the archiver: pg_wal/archive_status/*.ready
// (postmaster/pgarch.c, pgarch_readyXlog).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

struct ReadyFiles {
  // The first ones, in the order in which the archiver asks for them: timeline history files first,
  // then by name.
  std::vector<std::string> first;
  std::size_t count = 0;  // of all files that wait
  // The file that has waited longest, and since when. Empty when none waits, or with kIgnore. The
  // time is that of the .ready file: the WAL file's own time is wrong if the file was recycled.
  std::string oldest;
  TimePoint oldest_since{};
};

// Whether to look for the oldest file. That takes a system call for each file.
enum class ReadyAges { kIgnore, kRead };

// `wal_directory` is pg_wal. At most `limit` names are kept. A file that vanishes meanwhile is
// skipped. An error when archive_status cannot be read.
Result<ReadyFiles> ListReadyFiles(const std::string& wal_directory, std::size_t limit,
                                  ReadyAges ages);

// Whether the archiver asks for `a` before it asks for `b`.
bool IsArchivedBefore(const std::string& a, const std::string& b);

}  // namespace veza
