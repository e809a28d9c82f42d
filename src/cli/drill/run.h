// A drill from the restore to the last check, in a process of its own (drill.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/drill/checks.h"
#include "core/repository/drill_record.h"
#include "core/restore/plan.h"

namespace veza::cli {

struct DrillOptions {
  std::string directory;   // the throw-away one
  int lock = -1;           // of it (throw_away.h)
  RestoreOptions restore;  // target_directory and restore_command are set by the drill
  std::vector<SqlCheck> checks;
  bool amcheck = false;
  bool dump = false;
  bool keep = false;
  bool allow_unconfined = false;      // where the kernel has no Landlock, or no seccomp filters
  std::vector<std::string> readable;  // files and directories for the server, beside the usual ones
  bool record = true;
  bool lease = true;
  std::string pg_bin;
  std::string preload;
  std::string role;
  std::string check_role;   // runs the checks; empty: one that may read everything
  int timeout_seconds = 0;  // 0: none
};

struct DrillOutcome {
  DrillRecord record;
  std::vector<CheckOutcome> checks;
  std::optional<Error> error;  // why it did not pass
  int exit_code = kFailed;
  bool interrupted = false;
  bool kept = false;           // the directory is to stay
  std::string how_to_connect;  // empty unless the server runs
  std::string how_to_stop;
  std::string record_name;               // of the object; empty when none was stored
  std::optional<TimePoint> last_passed;  // the newest drill that passed, as far as it is known
};

// Nothing runs any more when it returns, unless `kept`. The directory is left to the caller.
DrillOutcome RunDrill(const GlobalOptions& options, DrillOptions drill);

}  // namespace veza::cli
