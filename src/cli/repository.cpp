// vezactl repository: `upgrade` lets writers use version 2 of the format.
#include "cli/command.h"
#include "cli/output.h"
#include "core/repository/format_mark.h"
#include "core/repository/names.h"

namespace veza::cli {
namespace {

constexpr const char* kUpgraded =
    "From now on backups and WAL are written in version 2 of the format. Version 0.1 of "
    "veza_backup cannot restore such backups, and archives no WAL that a newer node has stored. "
    "Everything that is stored already stays readable.\n"
    "Backups are of version 2 from the next one on, and WAL within five minutes. No restart is "
    "needed.\n";

Result<int> RunUpgrade(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const bool written, UpgradeFormat(*repository));
  if (options.json) {
    PrintJson({{"version", 2}, {"upgraded", written}});
  } else if (!options.quiet) {
    PrintText(written ? fmt::format("wrote {}\n{}", kFormatMarkName, kUpgraded)
                      : "the repository has version 2 already; nothing has to be written\n");
  }
  return kDone;
}

}  // namespace

Subcommand AddRepository(Command parent) {
  Command command = parent.AddCommand("repository", "Manage the repository as a whole");
  command.RequireCommand();
  command.AddCommand("upgrade",
                     "Write version 2 of the format from now on, when every node has veza_backup "
                     "0.2 or later");
  return {command, RunUpgrade, DefaultExitCode};
}

}  // namespace veza::cli
