// Runs a drill in a process of its own, and cleans up whatever happens to that process.
//
//   vezactl drill (this process, perhaps as root)
//     the drill (perhaps another account)
//       postgres, psql, pg_amcheck, …
//
// The kernel tells each process when its parent dies, and the first two adopt the orphans below
// them. So when any of them is killed, even by SIGKILL, the others notice: PostgreSQL stops at
// once, the drill cleans up when this process is gone, and this process cleans up when the drill is
// gone.
#pragma once

#include <optional>
#include <string>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/drill/run.h"

namespace veza::cli {

// What the drill reports to its supervisor.
struct DrillReport {
  int exit_code = kFailed;
  bool interrupted = false;
  DrillRecord record{};
  std::optional<TimePoint> last_passed{};
};

// Makes the throw-away directory below `base` for the account, runs the drill in it as that
// account, and removes the directory unless the drill keeps it. `show` prints the outcome, and is
// called in the drill's process.
Result<DrillReport> SuperviseDrill(const GlobalOptions& options, const Account& account,
                                   const std::string& base, DrillOptions drill,
                                   void (*show)(const GlobalOptions&, const DrillOutcome&,
                                                const std::string& directory));

}  // namespace veza::cli
