#include "cli/lease.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/output.h"
#include "cli/patience.h"
#include "cli/signals.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {
namespace {

// The age of this file tells when a renewal was last tried. PostgreSQL ignores the file in pg_wal,
// and no backup contains it.
constexpr const char* kStampFile = "veza_lease";
constexpr std::chrono::seconds kRenewEvery{60};

constexpr std::chrono::seconds kRenewPatience{5};
constexpr std::chrono::seconds kEndPatience{2};
constexpr RetryPolicy kRenewPolicy{.budget = kRenewPatience, .max_attempts = 3};

// Whether the error says for certain that the store does not accept writes. Then there is no lease.
bool CannotWrite(const Error& error) {
  return error.code == ErrorCode::kPermissionDenied || error.code == ErrorCode::kNoSpace ||
         error.code == ErrorCode::kUnsupported;
}

// Returns whether a renewal is due. If so, it writes the stamp file, so that the next one is due a
// minute later even when this one fails.
bool TakeStamp(const std::string& path, const std::string& lease, TimePoint now) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    const TimePoint stamped{std::chrono::seconds(info.st_mtim.tv_sec)};
    // When the clock was set back, renew all the same.
    if (stamped <= now && now - stamped < kRenewEvery) {
      return false;
    }
  }
  // O_NONBLOCK, because opening a FIFO would block.
  const UniqueFd file(
      open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  // When the stamp cannot be written, do not renew: otherwise every segment would cost a renewal.
  return file.valid() && fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode) &&
         write(file.get(), lease.data(), lease.size()) == static_cast<ssize_t>(lease.size());
}

}  // namespace

Result<std::unique_ptr<RestoreLease>> TakeLease(const GlobalOptions& options,
                                                const Repository& repository,
                                                const RestorePlan& plan,
                                                const std::string& purpose) {
  Result<std::unique_ptr<RestoreLease>> lease =
      RestoreLease::Take(repository, plan.backup, purpose);
  if (!lease && CannotWrite(lease.error())) {
    PrintWarning(fmt::format("could not take a lease, so retention may remove backup \"{}\" and "
                             "its WAL during the restore: {}",
                             plan.backup.label, lease.error().message),
                 "Let these credentials write and delete objects below \"lease/\". At its end, "
                 "the restore checks that everything it needs is still there.");
    return std::unique_ptr<RestoreLease>();
  }
  if (!lease) {
    return std::move(lease.error())
        .WithContext(fmt::format("could not take a lease on backup \"{}\"", plan.backup.label))
        .WithHint(
            "Try again, or use --no-lease: then the restore only checks at its end that everything "
            "it needs is still there.");
  }
  // An expiry that looked for leases before this one was stored may be deleting the backup now.
  if (const Status there = RequireStillThere(repository, plan); !there) {
    EndLease(options, std::move(*lease));
    return there.error();
  }
  return lease;
}

void EndLease(const GlobalOptions& options, std::unique_ptr<RestoreLease> lease) {
  if (!lease) {
    return;
  }
  Cancellation& cancellation = *options.environment.cancellation;
  const bool was_cancelled = cancellation.cancelled();
  cancellation.Reset();
  [[maybe_unused]] const Status ended =
      WithPatience(options.environment, kEndPatience, nullptr, [&] { return lease->End(); });
  cancellation.Reset();
  // A signal may have arrived while the lease was ended.
  if (was_cancelled || CaughtSignal() != 0) {
    cancellation.Cancel();
  }
}

void RenewLeaseIfDue(const GlobalOptions& options, const Config& config, const std::string& lease,
                     const std::string& destination) {
  if (lease.empty() || access("standby.signal", F_OK) == 0) {
    return;
  }
  std::error_code error;
  const std::string directory =
      std::filesystem::absolute(destination, error).parent_path().string();
  if (error || !TakeStamp(directory + "/" + kStampFile, lease, options.environment.clock->Now())) {
    return;
  }
  GlobalOptions own = options;
  own.quiet = true;
  own.environment.cancellation = std::make_shared<Cancellation>();
  [[maybe_unused]] const Status renewed = WithPatience(
      own.environment, kRenewPatience, options.environment.cancellation.get(), [&]() -> Status {
        ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                         OpenRepository(own, config, kRenewPolicy));
        return RenewLease(*repository, lease);
      });
}

}  // namespace veza::cli
