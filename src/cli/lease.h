// How restore, drill and wal-get use leases (core/repository/restore_lease.h).
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"
#include "core/config/config.h"
#include "core/error.h"
#include "core/repository/restore_lease.h"
#include "core/restore/plan.h"

namespace veza::cli {

// Takes a lease on the backup and the WAL that the plan needs. When it returns a lease, all of that
// was still there after the lease was stored. Returns null, after a warning, when the repository
// cannot be written to: a restore must be possible all the same. Any other failure is an error,
// because then nobody knows whether there is a lease.
Result<std::unique_ptr<RestoreLease>> TakeLease(const GlobalOptions& options,
                                                const Repository& repository,
                                                const RestorePlan& plan,
                                                const std::string& purpose);

// Ends the lease, if there is one. Takes two seconds at most, and works also after a cancellation.
// A lease that could not be ended lapses by itself.
void EndLease(const GlobalOptions& options, std::unique_ptr<RestoreLease> lease);

// For wal-get: renews the lease unless that was tried less than a minute ago (the age of a file
// beside `destination` tells). Does nothing on a standby, which may ask for WAL for years. Never
// fails, and takes five seconds at most, because recovery waits.
void RenewLeaseIfDue(const GlobalOptions& options, const Config& config, const std::string& lease,
                     const std::string& destination);

}  // namespace veza::cli
