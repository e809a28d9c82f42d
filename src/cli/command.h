// What the subcommands of vezactl share: global options, exit codes, and how they open the
// repository.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/arguments.h"
#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/cluster_root.h"
#include "core/repository/repository.h"
#include "core/storage/retrying_store.h"

namespace veza::cli {

// Exit codes. wal-get has its own (wal_get.cpp). A command that SIGINT or SIGTERM has ended exits
// with 128 plus the number of the signal, as in a shell.
inline constexpr int kDone = 0;
inline constexpr int kBadAnswer = 1;  // the command worked, but what it found is bad
inline constexpr int kFailed = 2;     // the environment or the arguments are wrong

struct GlobalOptions {
  std::string config_file;
  bool json = false;       // --output json
  bool quiet = false;      // hides progress, retries and results of success, and never a warning
  std::string first_wrap;  // RepositoryOptions::first_wrap
  // The repository is to be read as it was then: a whole second. Connect() sees to it.
  std::optional<TimePoint> as_of;
  // The mirror is to be read in place of the repository. LoadSettings() sees to it.
  bool mirror = false;
  Environment environment;
};

struct Subcommand {
  Command command;
  // Returns the exit code, or an error that main() reports.
  std::function<Result<int>(const GlobalOptions&)> run;
  // The exit code for an error, argument errors included.
  std::function<int(const Error&)> exit_code;
  // Whether it only reads the repository, so that GlobalOptions::as_of and mirror make sense.
  bool only_reads = false;
};

// Each subcommand has a file of its own.
Subcommand AddInfo(Command parent);
Subcommand AddCheck(Command parent);
Subcommand AddRestore(Command parent);
Subcommand AddVerify(Command parent);
Subcommand AddWalGet(Command parent);
Subcommand AddDrill(Command parent);
Subcommand AddKey(Command parent);
Subcommand AddTimeline(Command parent);
Subcommand AddRepository(Command parent);
Subcommand AddIndex(Command parent);
Subcommand AddReport(Command parent);
Subcommand AddExpire(Command parent);
Subcommand AddKeep(Command parent);
Subcommand AddMirror(Command parent);
Subcommand AddImportConfig(Command parent);
Subcommand AddCompletion(Command parent);
// Knows the commands that were added before it.
Subcommand AddManual(Command parent);

// vezactl info --all (info_all.cpp).
Result<int> RunInfoOfAll(const GlobalOptions& options, bool verify);

// Options that several subcommands take. The values must live as long as the command line.
void AddJobsOption(Command command, int& jobs);
// What `jobs` is unless the option was given.
int DefaultJobs(const Config& config);
void AddSystemIdOption(Command command, std::string& text);

// kBadAnswer when the repository is damaged, otherwise kFailed.
int DefaultExitCode(const Error& error);

// Reads the configuration of the repository, or of its mirror (options.mirror). For the commands
// that only read.
Result<Config> LoadSettings(const GlobalOptions& options);

// With options.as_of, warns when versioning of the bucket is suspended. One request, without
// retries.
void WarnOfSuspendedVersions(const GlobalOptions& options, const Config& config);

// Connects to the store that the configuration names, or to its past (options.as_of). Reports
// retries on standard error, at most one per second, unless options.quiet.
Result<std::shared_ptr<Store>> Connect(const GlobalOptions& options, const Config& config,
                                       const RetryPolicy& policy);
// The same for the root that the cluster shares with others.
Result<ClusterRoot> ConnectRoot(const GlobalOptions& options, const Config& config,
                                const RetryPolicy& policy);
// The options with which vezactl opens a repository: this host's name, and the system's temporary
// directory.
RepositoryOptions OptionsOf(const Config& config);
// Connects and opens the repository. Errors are those of Connect() and Repository::Open().
Result<std::unique_ptr<Repository>> OpenRepository(const GlobalOptions& options,
                                                   const Config& config,
                                                   const RetryPolicy& policy = {});
// Gets the credentials for S3 while this process is still root, who may be the only one who can
// read their files. Requests then use these to their end, or until S3 refuses them. No error: the
// first request says what is wrong. Does nothing for other accounts.
void GetCredentialsAsRoot(const GlobalOptions& options, const Config& config);
// The retries of a restore, a drill and a verification.
RetryPolicy RestoreRetries(const Config& config);

// The path of vezactl itself.
Result<std::string> OwnProgram();

// Parses an option's text as a system identifier. Absent when the text is empty, that is, when the
// option was not given.
Result<std::optional<std::uint64_t>> ParseSystemId(const std::string& text);

}  // namespace veza::cli
