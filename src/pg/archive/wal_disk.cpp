#include "pg/archive/wal_disk.h"

#include <sys/statvfs.h>
#include <unistd.h>

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

bool IsInPgWal(const std::string& file) {
  return access((std::string(XLOGDIR "/") + file).c_str(), F_OK) == 0;
}

}  // namespace veza::pg
