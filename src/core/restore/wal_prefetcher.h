// Fetches the segments behind the one that recovery was given last into a WalSpool.
//
// It follows the requests in the spool: each of them moves a window of the next N segments of its
// timeline. What has left the window is removed; what is in it is fetched in order, several at a
// time, and never twice. The first that is not in the archive, or cannot be fetched for another
// reason, ends the window until the next request: nothing is remembered about it, no error is
// reported, because wal-get asks the archive itself for what it does not find in the spool.
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
  int segments = 8;  // in the spool at most, those that are being fetched included; at least 1
  int threads = 1;   // at least 1
  std::uint64_t segment_size = 0;
  std::chrono::milliseconds idle{60'000};  // ends when there was no request for so long
};

// Runs until it is cancelled, idle for long, `is_over` says so, or the spool has gone. The caller
// holds the spool's lock, has made a first request, and removes the directory afterwards.
// `environment` is the one of the archive's repository; it is cancelled when this returns, so that
// no request outlives it. An error only when no thread can be started.
Status PrefetchWal(const WalArchive& archive, const WalSpool& spool, const PrefetchOptions& options,
                   const Environment& environment, const std::function<bool()>& is_over);

}  // namespace veza
