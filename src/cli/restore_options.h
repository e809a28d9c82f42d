// What restore and drill have in common: recovery targets on the command line, restore_command, and
// the number of threads.
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

// The arguments as given.
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
// kInvalidArgument when an argument cannot be parsed, or when they do not fit together.
Result<RecoveryTarget> ParseTarget(const TargetArguments& arguments);

// The absolute path, without "." and ".." and without a trailing slash. kInvalidArgument for an
// empty path.
Result<std::string> AbsolutePath(const std::string& path);

// The restore_command of the restored server. Its paths are absolute, that of this program
// included, because the server runs it in its data directory and with another environment.
Result<std::string> MakeRestoreCommand(const GlobalOptions& options,
                                       std::uint64_t system_identifier);

// The same as a program and its arguments, to be run without a shell. The name of the file and its
// destination are to be appended.
Result<std::vector<std::string>> MakeWalGet(const GlobalOptions& options,
                                            std::uint64_t system_identifier);

// Runs ExecuteRestore() and shows its progress.
Result<RestoreReport> RestoreWithProgress(const GlobalOptions& options,
                                          const Repository& repository, const RestorePlan& plan,
                                          const std::function<Status()>& copied = {});

// Warns when the restored rows may be wrong, and when a newer backup was passed over for that
// reason.
void WarnOfDoubt(const RestorePlan& plan);

// Warns when WAL was not looked at for unlogged relations that have to be left out.
void WarnOfUnreadWal(const RestorePlan& plan);

}  // namespace veza::cli
