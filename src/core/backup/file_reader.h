// Reads whole ranges for a backup, without pushing the server's own pages out of the kernel's
// cache. Uses RWF_DONTCACHE (Linux 6.14) where the file system knows it. Otherwise it drops a range
// from the cache afterwards (POSIX_FADV_DONTNEED) that was not in the cache before (mincore).
#pragma once

#include <cstdint>
#include <string>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

// Fills `into` from `offset`. Behind the end of the file it fills in zeros: a relation may be
// truncated while it is copied, and WAL replay truncates it again. `path` is for messages.
Status ReadForBackup(int fd, std::uint64_t offset, MutableByteView into, const std::string& path);

}  // namespace veza
