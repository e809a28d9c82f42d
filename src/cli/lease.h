// Leases (core/repository/restore_lease.h) as restore, drill and wal-get use them.
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"
#include "core/config/config.h"
#include "core/error.h"
#include "core/repository/restore_lease.h"
#include "core/restore/plan.h"

namespace veza::cli {

// A lease on what the plan needs, all of which is still there when this returns. Null, after a
// warning, where the repository cannot be written to: the restore must be possible all the same.
// With any other trouble it is in doubt whether there is a lease, which is an error.
Result<std::unique_ptr<RestoreLease>> TakeLease(const GlobalOptions& options,
                                                const Repository& repository,
                                                const RestorePlan& plan,
                                                const std::string& purpose);

// Ends the lease, if there is one: briefly, and also for who was told to stop. What stays lapses.
void EndLease(const GlobalOptions& options, std::unique_ptr<RestoreLease> lease);

// For wal-get: renews the lease unless that was tried less than a minute ago, which a file beside
// `destination` tells. A standby asks for WAL for ever, and so does not renew. Never fails and
// never takes long: recovery waits.
void RenewLeaseIfDue(const GlobalOptions& options, const Config& config, const std::string& lease,
                     const std::string& destination);

}  // namespace veza::cli
