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
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>

#include "core/environment.h"
#include "core/postgres/data_directory.h"
#include "core/postgres/postmaster_pid.h"
#include "core/restore/control_file.h"
#include "core/restore/original.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

std::string MarkerOf(const std::string& target) {
  return fmt::format("{}/{}", target, kUnfinishedMarker);
}

bool WasInterrupted(const std::string& target) {
  struct stat info {};
  return lstat(MarkerOf(target).c_str(), &info) == 0 && info.st_size > 0;
}

std::string ClaimOf(const std::string& directory) {
  return fmt::format("{}/{}", directory, kClaim);
}

// The data directory whose restore has claimed the directory. nullopt when there is no claim. An
// empty string when there is a claim that cannot be read.
std::optional<std::string> ClaimantOf(const std::string& directory) {
  constexpr std::size_t kLongest = 16 << 10;
  const Result<std::optional<std::string>> claim = ReadRegularFile(ClaimOf(directory), kLongest);
  if (!claim) {
    return "";
  }
  return *claim ? std::optional((*claim)->substr(0, (*claim)->find('\n'))) : std::nullopt;
}

// Whether `path` is certainly a data directory of this cluster, or what a restore into it has left.
// PG_VERSION is no proof, and without a proof nothing may be removed.
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
  if (IsThere(MarkerOf(path))) {
    return Ok();
  }
  const std::string why =
      control.state == ControlFile::State::kAbsent
          ? "It has no global/pg_control, which would tell which cluster it belongs to."
      : control.state == ControlFile::State::kUnreadable
          ? fmt::format(
                "Its global/pg_control, which would tell which cluster it belongs to, cannot be "
                "read: {}.",
                control.why_unreadable)
          : "Its global/pg_control, which would tell which cluster it belongs to, is damaged.";
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

// Whether the directory holds anything besides lost+found for which `is_nothing` is false. False
// when it does not exist.
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
  // Other problems of the directory are reported when it is used.
  if (!directory->valid()) {
    return std::shared_ptr<const UniqueFd>();
  }
  // A process that was killed a moment ago may still hold the lock.
  constexpr int kTries = 6;
  int tries = 0;
  while (flock(directory->get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         ++tries < kTries) {
    SystemClock().Sleep(std::chrono::milliseconds(100), nullptr);
  }
  if (tries == kTries) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "another process is restoring into directory \"{}\"", path)
        .WithHint(
            "Wait until it has ended, or stop it. \"vezactl restore --delta\" then completes its "
            "restore. Nothing was written.");
  }
  return std::shared_ptr<const UniqueFd>(std::move(directory));
}

Error FilledMeanwhile(const std::string& path) {
  return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" is no longer empty", path)
      .WithHint(
          "Something was restored or copied there meanwhile. Nothing was written to it. Choose "
          "another directory.");
}

// Decides as PostgreSQL does (CreateLockFile): any process with that id counts as the server. A
// file without an id may be one that a server is writing while it starts.
Status RequireNoServer(const std::string& path) {
  constexpr const char* kHint =
      "If no server runs or starts in the directory, remove the file. Nothing was written.";
  Result<std::optional<PostmasterPid>> file = ReadPostmasterPid(path);
  if (!file) {
    return std::move(file.error()).WithHint(kHint);
  }
  if (!*file) {
    return Ok();
  }
  const pid_t pid = (*file)->pid;
  if (pid == 0) {
    return MakeError(ErrorCode::kFailedPrecondition, "file \"{}/{}\" does not contain a process ID",
                     path, kPostmasterPidFile)
        .WithHint(kHint);
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "a server with process id {} runs in directory \"{}\"", pid, path)
      .WithHint("Stop the server first. If none runs, remove postmaster.pid. Nothing was written.");
}

Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const bool empty, IsEmptyTarget(path));
  if (!empty) {
    RETURN_IF_ERROR(RequireDataDirectory(path, system_identifier));
  }
  return RequireNoServer(path);
}

Status ClaimDirectory(const std::string& directory, const std::string& target) {
  return ReplaceTextFile(ClaimOf(directory), CanonicalPath(target) + "\n");
}

Status ReleaseDirectory(const std::string& directory, const std::string& target) {
  const std::string claim = ClaimOf(directory);
  if (IsClaimedBy(target, directory) && unlink(claim.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not remove file \"{}\"", claim));
  }
  return Ok();
}

bool IsClaimedBy(const std::string& target, const std::string& directory) {
  return ClaimantOf(directory) == CanonicalPath(target);
}

bool MayBelongTo(const std::string& target, const OuterPlace& place) {
  const std::optional<std::string> claimant = ClaimantOf(place.directory);
  return claimant ? *claimant == CanonicalPath(target)
                  : IsSameFile(place.link, place.directory) && !WasInterrupted(target);
}

namespace {

// The error for a directory that MayBelongTo() denies.
Error NotOurs(const std::string& target, const OuterPlace& place) {
  constexpr const char* kAnother = "choose another place with --tablespace-map or --waldir";
  const std::string& directory = place.directory;
  if (const std::optional<std::string> claimant = ClaimantOf(directory)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "a restore into \"{}\" has begun to fill directory \"{}\" and has not ended",
                     claimant->empty() ? "?" : *claimant, directory)
        .WithHint(fmt::format("Complete that restore with --delta; or, if it was abandoned, remove "
                              "the file \"{}\"; or {}. Nothing was written.",
                              ClaimOf(directory), kAnother));
  }
  const std::string leads_to = TextOfLink(place.link);
  const std::string where = leads_to.empty() || IsSameFile(place.link, directory)
                                ? ""
                                : fmt::format("\"{}\" leads to \"{}\": to leave it there, add {}. ",
                                              place.link, leads_to, place.option);
  if (!WasInterrupted(target)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" is not empty, and \"{}\" does not lead to it", directory,
                     place.link)
        .WithHint(fmt::format("{}If nothing uses it, empty it; or {}. Nothing was written.", where,
                              kAnother));
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" is not empty, and was not filled by the interrupted restore "
                   "into \"{}\"",
                   directory, target)
      .WithHint(fmt::format(
          "{}Another server may use it by now, or version 0.1 may have started the restore, which "
          "left no file \"{}\" there. If nothing uses it, empty it; or {}. Nothing was written.",
          where, kClaim, kAnother));
}

Error Unproven(const std::string& target, const std::vector<const OuterPlace*>& places,
               const std::string& why) {
  std::string directories;
  std::string options;
  for (const OuterPlace* const place : places) {
    directories += fmt::format("{}\"{}\"", directories.empty() ? "" : ", ", place->directory);
    options += (options.empty() ? "" : " ") + place->option;
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" may be a copy, and these directories behind its links may "
                   "belong to the original: {}",
                   target, directories)
      .WithHint(fmt::format("{} If these directories belong to this one and to no other, and may "
                            "be replaced, add {}. If this directory is a copy, choose other places "
                            "with the same options. Nothing was written.",
                            why, options));
}

}  // namespace

Result<std::vector<std::string>> RequireOwnPlaces(const std::string& target,
                                                  const std::vector<OuterPlace>& places) {
  const std::string why = WhyMaybeCopy(target);
  std::vector<std::string> replaced;
  std::vector<const OuterPlace*> unproven;
  for (const OuterPlace& place : places) {
    ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(place.directory));
    if (empty) {
      continue;
    }
    if (!MayBelongTo(target, place)) {
      return NotOurs(target, place);
    }
    if (IsClaimedBy(target, place.directory) || place.is_named || why.empty()) {
      replaced.push_back(place.directory);
    } else {
      unproven.push_back(&place);
    }
  }
  if (!unproven.empty()) {
    return Unproven(target, unproven, why);
  }
  return replaced;
}

}  // namespace veza
