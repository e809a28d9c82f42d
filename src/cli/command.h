// What the subcommands of vezactl share: global options, exit codes, and the way to a repository.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.h"
#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/retrying_store.h"

namespace veza::cli {

// Exit codes. wal-get has its own (wal_get.cpp); a command ended by SIGINT or SIGTERM exits with
// 128 and the signal's number, as shells do.
inline constexpr int kDone = 0;
inline constexpr int kBadAnswer = 1;  // it worked, and what it found is not as it should be
inline constexpr int kFailed = 2;     // the environment or the arguments are wrong

struct GlobalOptions {
  std::string config_file;
  bool json = false;  // --output json
  bool quiet = false;
  std::string first_wrap;  // RepositoryOptions::first_wrap
  Environment environment;
};

struct Subcommand {
  Command command;
  // The exit code, or an error that main() reports.
  std::function<Result<int>(const GlobalOptions&)> run;
  // The exit code for an error, argument errors included.
  std::function<int(const Error&)> exit_code;
};

// One file a subcommand.
Subcommand AddInfo(Command parent);
Subcommand AddCheck(Command parent);
Subcommand AddRestore(Command parent);
Subcommand AddVerify(Command parent);
Subcommand AddWalGet(Command parent);
Subcommand AddDrill(Command parent);
Subcommand AddKey(Command parent);

// Options that several of them take. The values must live as long as the command line.
void AddJobsOption(Command command, int& jobs);
void AddSystemIdOption(Command command, std::string& text);

// kBadAnswer for damage in the repository, otherwise kFailed.
int DefaultExitCode(const Error& error);

// Connects as the configuration file says. Retries are reported on stderr, at most one a second.
Result<std::shared_ptr<Store>> Connect(const GlobalOptions& options, const Config& config,
                                       const RetryPolicy& policy);
RepositoryOptions OptionsOf(const Config& config);
Result<std::unique_ptr<Repository>> OpenRepository(const GlobalOptions& options,
                                                   const Config& config,
                                                   const RetryPolicy& policy = {});

// The path of vezactl itself.
Result<std::string> OwnProgram();

// An option's text as a system identifier; nothing when it was not given.
Result<std::optional<std::uint64_t>> ParseSystemId(const std::string& text);

}  // namespace veza::cli
