#include "core/restore/existing_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <system_error>

#include "core/environment.h"
#include "core/exposition.h"
#include "core/repository/data_directory.h"
#include "core/restore/control_file.h"

namespace veza {

namespace {

bool Exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

std::string MarkerOf(const std::string& target) {
  return fmt::format("{}/{}", target, kUnfinishedMarker);
}

std::string LinkOf(const std::string& target, const Tablespace& tablespace) {
  return fmt::format("{}/pg_tblspc/{}", target, tablespace.oid);
}

bool WasInterrupted(const std::string& target) {
  struct stat info {};
  return lstat(MarkerOf(target).c_str(), &info) == 0 && info.st_size > 0;
}

std::string ClaimOf(const std::string& directory) {
  return fmt::format("{}/{}", directory, kClaim);
}

// Whether `path` is certainly a data directory of this cluster, or what a restore has left of one.
// PG_VERSION proves nothing: everything in the directory may be removed.
Status RequireDataDirectory(const std::string& path, std::uint64_t system_identifier) {
  const ControlFile control = ReadControlFile(path);
  if (control.state == ControlFile::State::kWhole) {
    if (control.system_identifier == system_identifier) {
      return Ok();
    }
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" holds the cluster with system identifier {}, not {}", path,
                     control.system_identifier, system_identifier)
        .WithHint("Choose another directory. Nothing was written.");
  }
  if (Exists(MarkerOf(path))) {
    return Ok();
  }
  const char* const why = control.state == ControlFile::State::kAbsent
                              ? "It has no global/pg_control, which would tell whose it is."
                              : "Its global/pg_control, which would tell whose it is, is damaged.";
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" is not empty and not a data directory of this cluster", path)
      .WithHint(
          fmt::format("{} Choose another directory; or, if everything in it may be removed, create "
                      "an empty file \"{}\" in it and try again. Nothing was written.",
                      why, kUnfinishedMarker));
}

bool IsLinkOrEmpty(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode)) {
    return true;
  }
  const Result<bool> empty = IsEmptyDirectory(path);
  return empty && *empty;
}

// False when it is absent.
Result<bool> HoldsOtherThan(const std::string& path,
                            const std::function<bool(const std::string&)>& is_nothing) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) {
    if (errno == ENOENT) {
      return false;
    }
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  while (const dirent* item = readdir(directory.get())) {
    const std::string name = item->d_name;
    if (name != "." && name != ".." && name != kLostAndFound && !is_nothing(name)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string CanonicalPath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(path, error);
  return error ? path : canonical.string();
}

Result<bool> IsEmptyDirectory(const std::string& path) {
  ASSIGN_OR_RETURN(const bool holds,
                   HoldsOtherThan(path, [](const std::string&) { return false; }));
  return !holds;
}

Result<bool> IsEmptyTarget(const std::string& path) {
  ASSIGN_OR_RETURN(const bool holds, HoldsOtherThan(path, [&](const std::string& name) {
                     return name == "pg_wal" && IsLinkOrEmpty(path + "/" + name);
                   }));
  return !holds;
}

Result<std::shared_ptr<const UniqueFd>> LockTarget(const std::string& path) {
  auto directory =
      std::make_shared<UniqueFd>(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // What else is wrong with it is found by those who use it.
  if (!directory->valid()) {
    return std::shared_ptr<const UniqueFd>();
  }
  // A process that was killed a moment ago may not have ended yet.
  constexpr int kTries = 6;
  int tries = 0;
  while (flock(directory->get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         ++tries < kTries) {
    SystemClock().Sleep(std::chrono::milliseconds(100), nullptr);
  }
  if (tries == kTries) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "another process restores into directory \"{}\" at this moment", path)
        .WithHint(
            "Wait until it has ended, or stop it. Then \"vezactl restore --delta\" completes what "
            "it has begun. Nothing was written.");
  }
  return std::shared_ptr<const UniqueFd>(std::move(directory));
}

Error FilledMeanwhile(const std::string& path) {
  return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" is not empty any more", path)
      .WithHint(
          "Something else was restored or put there meanwhile. Nothing was written to it. Choose "
          "another directory.");
}

// As PostgreSQL looks at it (CreateLockFile): a process with this number is enough. That of a
// single-user server is negative.
Status RequireNoServer(const std::string& path) {
  std::ifstream file(path + "/postmaster.pid");
  pid_t pid = 0;
  if (!(file >> pid) || pid == 0) {
    return Ok();
  }
  pid = std::abs(pid);
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "a server with process id {} runs in directory \"{}\"", pid, path)
      .WithHint("Stop it first. If it does not run, remove postmaster.pid. Nothing was written.");
}

Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const bool empty, IsEmptyTarget(path));
  if (!empty) {
    RETURN_IF_ERROR(RequireDataDirectory(path, system_identifier));
  }
  return RequireNoServer(path);
}

Error NotOurs(const std::string& target, const std::string& directory, const std::string& link) {
  if (!WasInterrupted(target)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" is not empty, and \"{}\" does not lead to it, or another "
                     "restore has begun to fill it",
                     directory, link);
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" is not empty, and not what the interrupted restore into "
                   "\"{}\" has left",
                   directory, target)
      .WithHint(
          "Another server may have been given it since, or version 0.1 has begun the restore, "
          "which left no file \"veza_restoring\" there. If nothing uses it, empty it; or give "
          "another place with --tablespace-map or --waldir. Nothing was written.");
}

Status ClaimDirectory(const std::string& directory, const std::string& target) {
  return ReplaceTextFile(ClaimOf(directory), CanonicalPath(target) + "\n");
}

Status ReleaseDirectory(const std::string& directory) {
  const std::string claim = ClaimOf(directory);
  if (unlink(claim.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not remove file \"{}\"", claim));
  }
  return Ok();
}

bool BelongsTo(const std::string& target, const std::string& directory, bool is_linked) {
  std::ifstream file(ClaimOf(directory));
  std::string claimed;
  if (std::getline(file, claimed)) {
    return claimed == CanonicalPath(target);
  }
  return is_linked && !WasInterrupted(target);
}

bool IsTablespaceOf(const std::string& target, const Tablespace& tablespace) {
  std::error_code error;
  return BelongsTo(target, tablespace.path,
                   std::filesystem::equivalent(LinkOf(target, tablespace), tablespace.path, error));
}

Status RequireReplaceableTablespace(const std::string& target, const Tablespace& tablespace) {
  ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(tablespace.path));
  if (empty || IsTablespaceOf(target, tablespace)) {
    return Ok();
  }
  return NotOurs(target, tablespace.path, LinkOf(target, tablespace));
}

}  // namespace veza
