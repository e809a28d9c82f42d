// What the subcommands that restore have in common: recovery targets on the command line,
// restore_command, and how many threads there are.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "core/config/config.h"
#include "core/error.h"
#include "core/restore/restore.h"
#include "core/restore/target.h"

namespace veza::cli {

// As typed.
struct TargetArguments {
  std::optional<std::string> time;
  std::optional<std::string> lsn;
  std::optional<std::string> xid;
  std::optional<std::string> name;
  bool immediate = false;
  std::string timeline = "latest";
  bool inclusive = false;
  bool exclusive = false;
};

// `label` must live as long as the command line.
void AddBackupOption(Command command, std::string& label);
// `arguments` must live as long as the command line.
void AddTargetOptions(Command command, TargetArguments& arguments);
Result<RecoveryTarget> ParseTarget(const TargetArguments& arguments);

// Without "." and ".." and a trailing slash.
Result<std::string> AbsolutePath(const std::string& path);

// restore_command with full paths, of this program itself too: the server runs it in its data
// directory and with another environment.
Result<std::string> MakeRestoreCommand(const GlobalOptions& options,
                                       std::uint64_t system_identifier);

// The program and the arguments of that, as they are run without a shell and without the file.
Result<std::vector<std::string>> MakeWalGet(const GlobalOptions& options,
                                            std::uint64_t system_identifier);

// ExecuteRestore(), its progress shown.
Result<RestoreReport> RestoreWithProgress(const GlobalOptions& options,
                                          const Repository& repository, const RestorePlan& plan,
                                          const std::function<Status()>& copied = {});

// Warns when the backup may restore to wrong rows, and when a newer one was passed over for that.
void WarnOfDoubt(const RestorePlan& plan);

int DefaultRestoreJobs(const Config& config);

}  // namespace veza::cli
