// The server's own list of WAL files that wait for the archiver: pg_wal/archive_status/*.ready
// (PostgreSQL's postmaster/pgarch.c, pgarch_readyXlog).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

struct ReadyFiles {
  // The first ones in the order in which the archiver asks for them: timeline history files, then
  // by name.
  std::vector<std::string> first;
  std::size_t count = 0;  // of all
  // Of all of them, the one that was finished first, and when; empty without any. Its status file
  // tells, not the WAL file, which may have been recycled.
  std::string oldest;
  TimePoint oldest_since{};
};

// What to learn: looking at ages takes a system call for every file.
enum class ReadyAges { kIgnore, kRead };

// `wal_directory` is pg_wal. At most `limit` names are kept in memory. A file that goes away while
// it is looked at is skipped.
Result<ReadyFiles> ListReadyFiles(const std::string& wal_directory, std::size_t limit,
                                  ReadyAges ages);

// Whether the archiver asks for `a` before `b`.
bool IsArchivedBefore(const std::string& a, const std::string& b);

}  // namespace veza
