// A drill in a process of its own, and what has to happen whatever becomes of that.
//
//   vezactl drill (this process, root perhaps)
//     the drill (another account perhaps)
//       postgres, psql, pg_amcheck, …
//
// Each is told by the kernel when its parent dies, and each but the last adopts the orphans below
// it. So none of them can be killed, not even by SIGKILL, without the others noticing: PostgreSQL
// stops at once, the drill cleans up when this process is gone, and this process when the drill is.
#pragma once

#include <optional>
#include <string>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/drill/run.h"

namespace veza::cli {

// What the drill leaves to its supervisor.
struct DrillReport {
  int exit_code = kFailed;
  bool interrupted = false;
  DrillRecord record{};
  std::optional<TimePoint> last_passed{};
};

// Makes the throw-away directory below `base` for the account, runs the drill in it as that
// account, and removes it, unless the drill wants it kept. `show` prints the outcome; it is called
// in the drill's process.
Result<DrillReport> SuperviseDrill(const GlobalOptions& options, const Account& account,
                                   const std::string& base, DrillOptions drill,
                                   void (*show)(const GlobalOptions&, const DrillOutcome&,
                                                const std::string& directory));

}  // namespace veza::cli
