// vezactl keep: pins a backup, so that retention leaves it alone, or takes the pin away.
#include "cli/command.h"
#include "cli/output.h"
#include "core/retention/pins.h"

namespace veza::cli {
namespace {

struct KeepArguments {
  std::string label;
  bool remove = false;
};

Result<int> RunKeep(const GlobalOptions& options, const KeepArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  if (arguments.remove) {
    RETURN_IF_ERROR(UnpinBackup(*repository, arguments.label));
  } else {
    ASSIGN_OR_RETURN(const PinUnderLock pinned, PinBackupUnderLock(*repository, arguments.label));
    if (pinned.not_locked) {
      PrintWarning(
          fmt::format("backup {} was pinned without the lock of the repository: {}",
                      arguments.label, pinned.not_locked->message),
          "If another node was removing the backup at this very moment, the backup may still go. "
          "Look with \"vezactl info\" when that node has finished.");
    }
    WarnOfLock(pinned.not_released);
  }
  if (options.json) {
    PrintJson({{"label", arguments.label}, {"pinned", !arguments.remove}});
  } else if (!options.quiet) {
    PrintText(arguments.remove
                  ? fmt::format("retention decides on backup {} again\n", arguments.label)
                  : fmt::format("backup {0} stays until \"vezactl keep --remove {0}\"\n",
                                arguments.label));
  }
  return kDone;
}

}  // namespace

Subcommand AddKeep(Command parent) {
  auto arguments = std::make_shared<KeepArguments>();
  Command command =
      parent.AddCommand("keep", "Pin a backup, so that retention keeps it and those that it needs");
  command.Add("LABEL", arguments->label, "The backup").Required();
  command.AddFlag("--remove", arguments->remove, "Take the pin away");
  return {command,
          [arguments](const GlobalOptions& options) { return RunKeep(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
