#include "pg/wal_disk.h"

#include <sys/statvfs.h>

#include <cerrno>

//
#include "pg/compat.h"

namespace veza::pg {

Result<WalDisk> LookAtWalDisk() {
  struct statvfs disk {};
  if (statvfs(XLOGDIR, &disk) != 0) {
    return ErrnoError(errno, "could not ask for the free space of pg_wal");
  }
  return WalDisk{static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize,
                 static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize};
}

}  // namespace veza::pg
