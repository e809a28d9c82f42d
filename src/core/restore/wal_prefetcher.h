// Fetches the segments that follow the last one that recovery was given, and stores them in a
// WalSpool.
//
// Each request in the spool moves a window of the next N segments of its timeline. Segments that
// have left the window are removed. Those in it are fetched in order, several at a time, and never
// twice. The first segment that is not in the archive, or that cannot be fetched for another
// reason, ends the window until the next request. Nothing is remembered and no error is reported,
// because wal-get asks the archive itself for a segment that it does not find in the spool.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "core/archive/wal_archive.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/restore/wal_spool.h"

namespace veza {

struct PrefetchOptions {
  int segments = 8;  // the most segments in the spool, including those being fetched; at least 1
  int threads = 1;   // at least 1
  std::uint64_t segment_size = 0;
  std::chrono::milliseconds idle{60'000};  // ends after this time without a request
};

// Runs until it is cancelled, there was no request for `idle`, `is_over` returns true, or the spool
// is gone. The caller holds the spool's lock, has made a first request, and removes the directory
// afterwards. `environment` is that of the archive's repository. It is cancelled when this function
// returns, so that no request outlives the call. An error only when no thread can be started.
Status PrefetchWal(const WalArchive& archive, const WalSpool& spool, const PrefetchOptions& options,
                   const Environment& environment, const std::function<bool()>& is_over);

}  // namespace veza
