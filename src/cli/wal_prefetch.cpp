#include "cli/wal_prefetch.h"

#include <fcntl.h>
#include <spawn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/postgres/postmaster_pid.h"
#include "core/process_identity.h"
#include "core/restore/key_wrap_note.h"
#include "core/restore/wal_prefetcher.h"

namespace veza::cli {
namespace {

namespace fs = std::filesystem;

// The descriptor of the lock that the prefetcher inherits.
constexpr int kLockFd = 3;

// A segment that is being fetched is waited for while its file grows, because fetching it a second
// time would take longer. If it stops growing, the prefetcher's connection may be dead.
constexpr std::chrono::milliseconds kLookForPart{5};
constexpr std::chrono::seconds kLongestStandstill{15};

// The prefetcher gives up soon. wal-get then tries itself: it is patient, and its messages reach
// the log.
constexpr RetryPolicy kPrefetchPolicy{.budget = std::chrono::seconds(5), .max_attempts = 4};

std::string LocationOf(const GlobalOptions& options, const Config& config) {
  return config.kind == RepositoryKind::kS3
             ? fmt::format("{} {}/{}{}", config.s3.endpoint, config.s3.bucket, config.s3.prefix,
                           options.as_of ? " as of " + FormatUtc(*options.as_of) : "")
             : config.directory;
}

struct WalPrefetchOptions {
  std::string directory;
  std::string destination;
  std::string recovery;
  std::string system_id;
  int segments = 0;
};

Status Prefetch(GlobalOptions options, const WalPrefetchOptions& prefetch) {
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> system_id, ParseSystemId(prefetch.system_id));
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  options.first_wrap = ReadKeyWrapNote(prefetch.destination);
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   OpenRepository(options, config, kPrefetchPolicy));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(system_id));
  const int connections = config.kind == RepositoryKind::kS3 ? config.s3_connections : config.jobs;
  return PrefetchWal(
      WalArchive(*repository, identity.system_identifier), WalSpool(prefetch.directory),
      {.segments = prefetch.segments,
       .threads = connections,
       .segment_size = identity.wal_segment_size},
      options.environment, [&] {
        return HasEnded(prefetch.recovery) || access(prefetch.destination.c_str(), F_OK) != 0;
      });
}

// Always returns 0. When the server is process 1 of a container, the kernel makes it the parent of
// this process, and it takes any exit code but 0 and 1 for a crash of its own child.
Result<int> RunWalPrefetch(const GlobalOptions& options, const WalPrefetchOptions& prefetch) {
  fcntl(kLockFd, F_SETFD, FD_CLOEXEC);
  // So that the working directory does not keep a file system busy.
  [[maybe_unused]] const int changed = chdir("/");
  // wal-get will meet the same errors and report them.
  [[maybe_unused]] const Status status =
      CatchExceptions([&] { return Prefetch(options, prefetch); });
  WalSpool(prefetch.directory).Remove();
  return kDone;
}

}  // namespace

PrefetchedWal::PrefetchedWal(const GlobalOptions& options, const Config& config,
                             const PrefetchArguments& arguments, const std::string& system_id,
                             const std::string& destination)
    : options_(options),
      segments_(arguments.segments),
      system_id_(system_id),
      destination_(destination),
      recovery_(IdentifyRecoveringProcess()) {
  if (recovery_.empty()) {
    if (arguments.spool.empty()) {
      return;
    }
    recovery_ = IdentifyPlace();
  }
  std::error_code error;
  destination_directory_ = fs::canonical(fs::absolute(destination, error).parent_path(), error);
  if (recovery_.empty() || error) {
    return;
  }
  root_ = arguments.spool.empty()
              ? destination_directory_ + "/" + kDefaultWalSpool
              : fs::absolute(arguments.spool, error).lexically_normal().string();
  if (segments_ > 0) {
    spool_.emplace(WalSpoolDirectory(
        root_, {LocationOf(options, config), system_id, destination_directory_, recovery_}));
  }
}

void PrefetchedWal::RemoveLeftOvers() const {
  if (!root_.empty()) {
    RemoveLeftOverSpools(root_);
  }
}

Result<bool> PrefetchedWal::Take(const std::string& segment) const {
  if (!spool_.has_value()) {
    return false;
  }
  const Clock& clock = *options_.environment.clock;
  const Cancellation* const cancellation = options_.environment.cancellation.get();
  std::uint64_t bytes = 0;
  SteadyTime last_growth = clock.Steady();
  for (;;) {
    // In this order: a segment that is finished in between is seen the next time.
    const std::optional<std::uint64_t> part = spool_->BytesOfPart(segment);
    const Result<bool> taken = spool_->Take(segment, destination_);
    if (taken.value_or(false)) {
      return true;
    }
    const SteadyTime now = clock.Steady();
    if (!taken.has_value() || !part.has_value() || now - last_growth > kLongestStandstill ||
        !WalSpoolLock::IsHeld(spool_->directory())) {
      return false;
    }
    if (*part > bytes) {
      bytes = *part;
      last_growth = now;
    }
    if (!clock.Sleep(kLookForPart, cancellation)) {
      return Cancelled();
    }
  }
}

void PrefetchedWal::FetchAfter(const std::string& segment) const {
  if (!spool_.has_value()) {
    return;
  }
  const auto lock = WalSpoolLock::TryAcquire(spool_->directory());
  if (!lock.has_value()) {
    return;
  }
  const Status requested = spool_->Request(segment);
  if (lock->has_value() && (!requested || !StartPrefetcher((*lock)->fd()))) {
    spool_->Remove();
  }
}

Status PrefetchedWal::StartPrefetcher(int lock_fd) const {
  std::error_code error;
  const std::string program = OwnProgram().value_or("");
  const std::string config_file = fs::absolute(options_.config_file, error).string();
  std::vector<std::string> words = {"vezactl",
                                    "--config",
                                    config_file,
                                    "--quiet",
                                    "wal-prefetch",
                                    "--segments",
                                    std::to_string(segments_),
                                    "--recovery",
                                    recovery_,
                                    spool_->directory(),
                                    destination_directory_};
  if (!system_id_.empty()) {
    words.insert(words.end(), {"--system-id", system_id_});
  }
  if (options_.as_of) {
    words.insert(words.end(), {"--as-of", FormatUtc(*options_.as_of)});
  }
  if (options_.mirror) {
    words.insert(words.end(), {"--repository", "mirror"});
  }
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t signals;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  // First, because the lock's descriptor may be 0, 1 or 2.
  posix_spawn_file_actions_adddup2(&files, lock_fd, kLockFd);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  }
  posix_spawn_file_actions_addclosefrom_np(&files, kLockFd + 1);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  pid_t pid = 0;
  const int failure =
      posix_spawn(&pid, program.c_str(), &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failure != 0) {
    return ErrnoError(failure, fmt::format("could not start \"{}\"", program));
  }
  return Ok();
}

Subcommand AddWalPrefetch(Command parent) {
  auto prefetch = std::make_shared<WalPrefetchOptions>();
  Command command = parent.AddCommand("wal-prefetch", "Fill the spool of wal-get");
  command.Hide();
  command.Add("directory", prefetch->directory, "").Required();
  command.Add("destination", prefetch->destination, "").Required();
  command.Add("--segments", prefetch->segments, "").Range(1, 1024).Required();
  command.Add("--recovery", prefetch->recovery, "").Required();
  command.Add("--system-id", prefetch->system_id, "");
  return {command,
          [prefetch](const GlobalOptions& options) { return RunWalPrefetch(options, *prefetch); },
          [](const Error&) { return kBadAnswer; }, true};
}

}  // namespace veza::cli
