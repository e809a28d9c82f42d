// Gives up WAL when the disk is nearly full, if archive_drop_below is set. Off by default.
#pragma once

#include <cstdint>

namespace veza::pg {

// Called when a WAL file could not be stored. Returns true when it is to be given up nevertheless:
// it is a segment, and the disk of pg_wal has less than `drop_below` bytes free (0: never).
// Segments that were given up before, and that the next checkpoint will remove, count as free. Logs
// and reports what it gives up; the scheduler finds the gap and starts a backup. Called in the
// archiver's main thread only. Raises no ERROR.
bool MayDrop(const char* file, std::uint64_t drop_below);

}  // namespace veza::pg
