// Reading for a backup: whole ranges, and without pushing the server's own pages out of the
// kernel's cache. RWF_DONTCACHE (Linux 6.14) where the file system knows it; otherwise ranges that
// were not in the cache before (mincore) are dropped from it afterwards (POSIX_FADV_DONTNEED).
#pragma once

#include <cstdint>
#include <string>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

// Fills `into` from `offset`; what lies past the end of the file becomes zero bytes, because a
// relation may be truncated while it is copied and WAL replay brings it back. `path` is for
// messages.
Status ReadForBackup(int fd, std::uint64_t offset, MutableByteView into, const std::string& path);

}  // namespace veza
