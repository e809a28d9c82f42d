// vezactl wal-get: restore_command's side of the repository.
//
// PostgreSQL takes exit code 0 for "here it is" and 1 to 125 for "the archive does not have it",
// which ends recovery or makes a standby go on by itself; 126 and above stop the server
// (access/transam/xlogarchive.c, RestoreArchivedFile). So 1 is given in one case only: the
// repository was reached, is the right one, and answered that it has no such file. Everything else,
// wrong arguments and settings included, is 126 after having tried for a while.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/wal_prefetch.h"
#include "core/repository/wal_archive.h"

namespace veza::cli {
namespace {

constexpr int kNotInArchive = 1;
constexpr int kStopRecovery = 126;

// Doubles from the first to the longest.
constexpr std::chrono::seconds kFirstPause{1};
constexpr std::chrono::seconds kLongestPause{20};

struct WalGetOptions {
  std::string file;
  std::string destination;
  std::string system_id;
  int retry_seconds = 300;
  PrefetchArguments prefetch;
};

// Whether waiting may help: a store that cannot be reached, but also a directory that is not
// mounted yet, keys that are being exchanged or a disk that is full. To stop the server is worse
// than to wait.
bool MayPass(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kNoSpace:
    case ErrorCode::kIo:
      return true;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kConflict:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataCorrupted:
    case ErrorCode::kWrongKey:
    case ErrorCode::kUnsupported:
    case ErrorCode::kInternal:
      return false;
  }
  return false;
}

// The server takes nothing but whole segments.
Status RequireSegmentSize(const std::string& path, std::uint64_t segment_size) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    return ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
  }
  if (static_cast<std::uint64_t>(status.st_size) != segment_size) {
    return MakeError(ErrorCode::kDataCorrupted, "file \"{}\" has {} bytes instead of {}", path,
                     status.st_size, segment_size);
  }
  return Ok();
}

Result<int> Fetch(const Repository& repository, const WalFileName& name, const WalGetOptions& wal,
                  std::optional<std::uint64_t> system_id) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_id));
  const WalArchive archive(repository, identity.system_identifier);
  if (auto fetched = archive.Fetch(wal.file, wal.destination); !fetched.has_value()) {
    if (fetched.error().code != ErrorCode::kNotFound) {
      return std::move(fetched.error());
    }
    // A directory that is missing on this side has the same code.
    ASSIGN_OR_RETURN(const bool exists, archive.Contains(wal.file));
    if (exists) {
      return std::move(fetched.error());
    }
    // Nothing is said: the server asks for files that need not exist all the time.
    return kNotInArchive;
  }
  if (name.kind == WalFileKind::kSegment) {
    RETURN_IF_ERROR(RequireSegmentSize(wal.destination, identity.wal_segment_size));
  }
  return kDone;
}

// From the repository, trying again for as long as it may help.
Result<int> FetchWithRetries(const GlobalOptions& options, const Config& config,
                             const WalFileName& name, const WalGetOptions& wal,
                             std::optional<std::uint64_t> system_id) {
  const Clock& clock = *options.environment.clock;
  const Cancellation* const cancellation = options.environment.cancellation.get();
  const SteadyTime deadline = clock.Steady() + std::chrono::seconds(wal.retry_seconds);
  for (std::chrono::seconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    RetryPolicy policy;
    policy.budget =
        std::max(std::chrono::milliseconds(0),
                 std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.Steady()));
    policy.max_attempts = std::numeric_limits<int>::max();
    auto fetched = [&]() -> Result<int> {
      ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                       OpenRepository(options, config, policy));
      return Fetch(*repository, name, wal, system_id);
    }();
    if (fetched.has_value() || !MayPass(fetched.error()) || clock.Steady() + pause >= deadline) {
      return fetched;
    }
    PrintWarning(fmt::format("trying again in {} s: {}", pause.count(), fetched.error().message));
    if (!clock.Sleep(pause, cancellation)) {
      return cancellation->Check().error();
    }
  }
}

Result<int> RunWalGet(const GlobalOptions& options, const WalGetOptions& wal) {
  const std::optional<WalFileName> name = ParseWalFileName(wal.file);
  if (!name.has_value()) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a WAL file", wal.file)
        .WithHint("The first argument is what restore_command gives as %f.");
  }
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> system_id, ParseSystemId(wal.system_id));
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));

  const PrefetchedWal prefetched(options, config, wal.prefetch, wal.system_id, wal.destination);
  const bool is_segment = name->kind == WalFileKind::kSegment;
  if (is_segment) {
    ASSIGN_OR_RETURN(const bool taken, prefetched.Take(wal.file));
    if (taken) {
      prefetched.FetchAfter(wal.file);
      return kDone;
    }
  }
  prefetched.RemoveLeftOvers();
  ASSIGN_OR_RETURN(const int exit_code, FetchWithRetries(options, config, *name, wal, system_id));
  if (is_segment && exit_code == kDone) {
    prefetched.FetchAfter(wal.file);
  }
  return exit_code;
}

}  // namespace

Subcommand AddWalGet(CLI::App& parent) {
  auto wal = std::make_shared<WalGetOptions>();
  CLI::App* app = parent.add_subcommand("wal-get", "Fetch a WAL file; for restore_command");
  app->add_option("file", wal->file, "Name of the WAL file, %f of restore_command")->required();
  app->add_option("destination", wal->destination, "Where to put it, %p of restore_command")
      ->required();
  app->add_option("--system-id", wal->system_id,
                  "System identifier of the cluster, when the repository holds several")
      ->type_name("ID");
  app->add_option("--retry", wal->retry_seconds,
                  "How long to try again when the file cannot be fetched")
      ->type_name("SECONDS")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app->add_option(
         "--prefetch", wal->prefetch.segments,
         "How many of the following segments a background process fetches meanwhile, for a\n"
         "server in recovery; 0 for none")
      ->type_name("N")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_option("--spool", wal->prefetch.spool,
                  "Directory for segments that were fetched ahead; default: veza_spool beside\n"
                  "DESTINATION, that is, in pg_wal")
      ->type_name("DIR");
  app->footer(
      "Exit codes: 0 the file was fetched; 1 the repository was reached and does not have it;\n"
      "126 anything else, after which PostgreSQL stops recovery instead of ending it too early.");
  return {app, [wal](const GlobalOptions& options) { return RunWalGet(options, *wal); },
          [](const Error&) { return kStopRecovery; }};
}

}  // namespace veza::cli
