// Executes a restore plan: restores packs in parallel, checks every extent, and makes the result
// durable at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// Written by the restore, and read by a thread that shows it. `bytes_total` is set before the first
// byte is restored; what is left out is taken off again.
struct RestoreProgress {
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> bytes_done{0};  // of files
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> files_left_out{0};  // RestorePlan::unlogged; they count nowhere else
  std::atomic<std::uint64_t> bytes_fetched{0};   // of packs, as stored
  std::atomic<bool> syncing{false};
};

struct RestoreReport {
  std::uint64_t files = 0;
  std::uint64_t files_left_out = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_fetched = 0;
};

// Does what the plan says. A delta first removes pg_control, and then what does not belong; an
// extent that is already in place is not fetched. After an interruption it can be run again.
// global/pg_control gets its name last, when everything else is durable, so a server cannot be
// started from an interrupted restore. An error names the damaged object or the file that could not
// be written. The files that were written remain for inspection.
// `copied` (may be empty) is called when everything is copied, before RequireStillThere() and
// before a server could be started. If it returns an error, the restore ends with that error.
Result<RestoreReport> ExecuteRestore(const Repository& repository, const RestorePlan& plan,
                                     RestoreProgress& progress,
                                     const std::function<Status()>& copied = {});

}  // namespace veza
