// The free space of the disk of pg_wal, and which files are there.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

namespace veza::pg {

struct WalDisk {
  std::uint64_t free = 0;  // bytes that accounts other than root may use
  std::uint64_t total = 0;
};

// Both may be called in any thread.
Result<WalDisk> LookAtWalDisk();
bool IsInPgWal(const std::string& file);

}  // namespace veza::pg
