// The operator's choice for a disk that fills: setting archive_drop_below. Off by default.
#pragma once

#include <cstdint>

namespace veza::pg {

// The WAL file could not be stored. True when it is to be given up all the same: a segment, while
// the disk of pg_wal has less than `drop_below` bytes free (0: never), counting what was given up
// before and the next checkpoint will remove. Logs and reports what it gives up; the scheduler
// finds the gap and starts a backup. Archiver's own thread only; raises nothing.
bool MayDrop(const char* file, std::uint64_t drop_below);

}  // namespace veza::pg
