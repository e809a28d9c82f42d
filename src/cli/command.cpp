#include "cli/command.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <mutex>
#include <system_error>

#include "cli/output.h"
#include "core/repository/connect.h"

namespace veza::cli {
namespace {

// When the network fails, many requests may fail at once. One line per second is enough.
class RetryReporter {
 public:
  explicit RetryReporter(const Clock& clock) : clock_(clock) {}

  void Report(std::string_view operation, std::string_view name, const Error& error) {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = clock_.Steady();
    if (last_.has_value() && now - *last_ < std::chrono::seconds(1)) {
      return;
    }
    last_ = now;
    PrintWarning(
        fmt::format("{} of \"{}\" failed, trying again: {}", operation, name, error.message));
  }

 private:
  const Clock& clock_;
  std::mutex mutex_;
  std::optional<SteadyTime> last_;
};

// Absent with options.quiet.
RetryObserver ReporterOf(const GlobalOptions& options) {
  if (options.quiet) {
    return {};
  }
  auto reporter = std::make_shared<RetryReporter>(*options.environment.clock);
  return [reporter](std::string_view operation, std::string_view name, const Error& error) {
    reporter->Report(operation, name, error);
  };
}

// The configuration for what is to be read: the present, or the past.
Result<Config> AtTime(const GlobalOptions& options, Config config) {
  if (!options.as_of) {
    return config;
  }
  if (config.kind != RepositoryKind::kS3) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "repository \"{}\" is a directory, which keeps no earlier versions",
                     config.directory)
        .WithHint(
            "--as-of needs a bucket with versioning. If the file system has a snapshot, name it "
            "in veza_backup.repository.");
  }
  config.s3.as_of = options.as_of;
  return config;
}

}  // namespace

int DefaultJobs(const Config& config) {
  // On S3 the threads wait for the network most of the time, so more of them are useful.
  return config.kind == RepositoryKind::kS3 ? std::max(config.jobs, config.s3_connections)
                                            : config.jobs;
}

void AddJobsOption(Command command, int& jobs) {
  command
      .Add("--jobs", jobs,
           "Number of threads, each with one request at a time; default: veza_backup.jobs, or on "
           "S3 the larger of that and veza_backup.s3_connections")
      .Range(1, 256)
      .TypeName("N");
}

void AddSystemIdOption(Command command, std::string& text) {
  command
      .Add("--system-id", text, "System identifier of the cluster, if the repository holds several")
      .TypeName("ID");
}

int DefaultExitCode(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted ? kBadAnswer : kFailed;
}

Result<Config> LoadSettings(const GlobalOptions& options) {
  return options.mirror ? LoadMirrorConfig(options.config_file) : LoadConfig(options.config_file);
}

void WarnOfSuspendedVersions(const GlobalOptions& options, const Config& config) {
  if (options.as_of && config.kind == RepositoryKind::kS3 &&
      IsVersioningSuspended(config, options.environment)) {
    PrintWarning("versioning of the bucket is suspended",
                 "What was overwritten or deleted while it was suspended may be missing, and an "
                 "older version may be shown in its place. Run \"vezactl verify --full\" with the "
                 "same --as-of.");
  }
}

Result<std::shared_ptr<Store>> Connect(const GlobalOptions& options, const Config& config,
                                       const RetryPolicy& policy) {
  ASSIGN_OR_RETURN(const Config own, AtTime(options, config));
  return ConnectStore(own, options.environment, policy, ReporterOf(options));
}

Result<ClusterRoot> ConnectRoot(const GlobalOptions& options, const Config& config,
                                const RetryPolicy& policy) {
  ASSIGN_OR_RETURN(const Config own, AtTime(options, config));
  return ClusterRoot::Connect(own, options.environment, policy, ReporterOf(options));
}

RepositoryOptions OptionsOf(const Config& config) {
  std::error_code error;
  const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
  return MakeRepositoryOptions(config, HostName(), error ? "/tmp" : temporary.string());
}

Result<std::unique_ptr<Repository>> OpenRepository(const GlobalOptions& options,
                                                   const Config& config,
                                                   const RetryPolicy& policy) {
  ASSIGN_OR_RETURN(std::shared_ptr<Store> store, Connect(options, config, policy));
  RepositoryOptions own = OptionsOf(config);
  own.first_wrap = options.first_wrap;
  return Repository::Open(std::move(store), std::move(own), options.environment);
}

void GetCredentialsAsRoot(const GlobalOptions& options, const Config& config) {
  if (geteuid() == 0 && config.s3.credentials) {
    [[maybe_unused]] const Result<S3CredentialsPtr> got =
        config.s3.credentials->Get(options.environment);
  }
}

RetryPolicy RestoreRetries(const Config& config) {
  return RetryPolicy{}.WithBudget(config.restore_retry_timeout);
}

Result<std::string> OwnProgram() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return ErrnoError(error.value(), "could not find the path of vezactl itself");
  }
  return self.string();
}

Result<std::optional<std::uint64_t>> ParseSystemId(const std::string& text) {
  if (text.empty()) {
    return std::optional<std::uint64_t>();
  }
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stopped != end || number == 0) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a system identifier", text)
        .WithHint("\"vezactl info\" shows the system identifiers in the repository.");
  }
  return std::optional(number);
}

}  // namespace veza::cli
