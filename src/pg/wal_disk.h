// The disk of pg_wal.
#pragma once

#include <cstdint>

#include "core/error.h"

namespace veza::pg {

struct WalDisk {
  std::uint64_t free = 0;  // bytes, as for anybody but root
  std::uint64_t total = 0;
};

// In any thread.
Result<WalDisk> LookAtWalDisk();

}  // namespace veza::pg
