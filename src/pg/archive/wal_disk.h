// The disk of pg_wal, and what is on it.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"

namespace veza::pg {

struct WalDisk {
  std::uint64_t free = 0;  // bytes, as for anybody but root
  std::uint64_t total = 0;
};

// In any thread.
Result<WalDisk> LookAtWalDisk();
bool IsInPgWal(const std::string& file);

}  // namespace veza::pg
