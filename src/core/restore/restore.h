// Puts a backup's files into place: packs in parallel, every extent checked, durable at the end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// Written by the restore, read by whoever shows it. `bytes_total` is set before the first byte.
struct RestoreProgress {
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> bytes_done{0};  // of files
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> bytes_fetched{0};  // of packs, as they are stored
  std::atomic<bool> syncing{false};
};

struct RestoreReport {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t bytes_fetched = 0;
};

// Does what the plan says. A delta removes pg_control, then what does not belong; an extent that is
// where it belongs is not fetched. Interrupted, it can be run again. global/pg_control gets
// its name last, after everything else was synced, so an interrupted restore cannot be started. An
// error names the damaged object or the file that could not be written; what was written stays for
// inspection.
// `copied` is called when everything is copied, before it is looked whether all that recovery needs
// is still there, and before the server could be started; its error ends the restore. May be empty.
Result<RestoreReport> ExecuteRestore(const Repository& repository, const RestorePlan& plan,
                                     RestoreProgress& progress,
                                     const std::function<Status()>& copied = {});

}  // namespace veza
