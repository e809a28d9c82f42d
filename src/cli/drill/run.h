// Runs a drill from the restore to the last check. This happens in a process of its own
// (supervisor.h).
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
  std::string directory;   // the throw-away directory
  int lock = -1;           // the descriptor that locks it (throw_away.h)
  RestoreOptions restore;  // target_directory and restore_command are set by the drill
  std::vector<SqlCheck> checks;
  bool amcheck = false;
  bool dump = false;
  bool keep = false;
  bool allow_unconfined = false;      // go on without Landlock or seccomp
  std::vector<std::string> readable;  // what the server may read beside the usual places
  bool record = true;
  bool lease = true;
  std::string pg_bin;
  std::string preload;
  std::string role;
  std::string check_role;   // runs the SQL checks; empty: a new role that may read everything
  int timeout_seconds = 0;  // 0 for no limit
};

struct DrillOutcome {
  DrillRecord record;
  std::vector<CheckOutcome> checks;
  std::optional<Error> error;  // why the drill did not pass
  int exit_code = kFailed;
  bool interrupted = false;
  bool kept = false;           // the directory stays
  std::string how_to_connect;  // empty unless the server still runs
  std::string how_to_stop;
  std::string record_name;               // name of the record's object; empty when none was stored
  std::optional<TimePoint> last_passed;  // when the newest passed drill ended, if known
};

// When it returns, no process of the drill runs any more, unless `kept`. The caller removes the
// directory.
DrillOutcome RunDrill(const GlobalOptions& options, DrillOptions drill);

}  // namespace veza::cli
