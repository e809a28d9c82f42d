#include "core/storage/local_directories.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>

#include "core/environment.h"
#include "core/storage/file_io.h"
#include "core/storage/local_tree.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// No upload lasts longer. A younger temporary file may belong to a writer that still runs.
constexpr auto kStaleAge = std::chrono::hours(24);
// This is only a cache, so it is emptied when it is full.
constexpr std::size_t kMostRemembered = 100'000;

UniqueFd OpenToRead(int parent, const char* name) {
  return UniqueFd(openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
}

// Removes temporary files of crashed writers from a directory. Stops at the first other entry.
void RemoveStaleTemporaries(int parent, const char* directory) {
  UniqueFd fd = OpenToRead(parent, directory);
  struct stat changed {};
  // The modification time of the directory stands for the present by the file system's clock,
  // because an object has just been removed from it. If none was, this time is earlier, and fewer
  // files count as stale.
  if (!fd.valid() || fstat(fd.get(), &changed) != 0) {
    return;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd.get()), closedir);
  if (!stream) {
    return;
  }
  fd.Release();
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    struct stat info {};
    if (!name.starts_with(kTemporaryPrefix) ||
        fstatat(dirfd(stream.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        FromTimespec(changed.st_mtim) - FromTimespec(info.st_mtim) < kStaleAge) {
      return;
    }
    unlinkat(dirfd(stream.get()), entry->d_name, 0);
  }
}

// Returns the first entry on the path to `path` that does not belong to root. Its owner controls
// what lies below it.
std::optional<struct stat> FirstOfAnother(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    struct stat info {};
    if (lstat(path.substr(0, end).c_str(), &info) != 0) {
      return std::nullopt;
    }
    if (info.st_uid != 0) {
      return info;
    }
    if (end == std::string::npos) {
      return std::nullopt;
    }
  }
}

// Returns the owner of the directory. If that is root, returns the owner of the first entry on the
// path that belongs to another account, also along the path to which root's links lead.
std::optional<struct stat> OwnerOf(const std::string& root) {
  struct stat info {};
  if (stat(root.c_str(), &info) == 0 && info.st_uid != 0) {
    return info;
  }
  std::optional<struct stat> owner = FirstOfAnother(root);
  if (!owner) {
    const std::unique_ptr<char, void (*)(void*)> resolved(realpath(root.c_str(), nullptr), free);
    owner = resolved ? FirstOfAnother(resolved.get()) : std::nullopt;
  }
  return owner;
}

// A user without an account on this machine gets the group nogroup.
gid_t GroupOf(uid_t user) {
  constexpr gid_t kNoGroup = 65534;
  std::vector<char> buffer(1U << 14);
  passwd entry{};
  passwd* found = nullptr;
  const int failed = getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found);
  return failed == 0 && found != nullptr ? found->pw_gid : kNoGroup;
}

}  // namespace

Error NotOurs(ErrorCode code, const std::string& path, mode_t mode) {
  return MakeError(code, "\"{}\" in the repository is {} that veza_backup did not make", path,
                   NameOfKind(mode))
      .WithHint(S_ISLNK(mode)
                    ? "Symbolic links inside a repository are not followed. Replace the link by "
                      "its target, mount the target there (mount --bind), or remove the link."
                    : "Find out who put it there, and remove it.");
}

Result<UniqueFd> OpenDirectoryBelow(const std::string& root, std::string_view relative) {
  std::string path = root;
  UniqueFd fd(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (std::string_view rest = relative; fd.valid() && !rest.empty();) {
    const std::string part(rest.substr(0, rest.find('/')));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    path += '/' + part;
    struct stat info {};
    UniqueFd next(openat(fd.get(), part.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
    if (next.valid() && fstat(next.get(), &info) == 0 && !S_ISDIR(info.st_mode)) {
      if (!S_ISREG(info.st_mode)) {
        return NotOurs(ErrorCode::kFailedPrecondition, path, info.st_mode);
      }
      return ErrnoError(ENOENT, fmt::format("could not open directory \"{}\"", path));
    }
    const int error_number = errno;
    fd = std::move(next);
    errno = error_number;
  }
  if (!fd.valid()) {
    const bool is_no_directory = errno == ENOTDIR;
    Error error = ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
    return is_no_directory ? std::move(error).WithHint(
                                 "Set veza_backup.repository to a directory. No part of its path "
                                 "may be a file.")
                           : std::move(error);
  }
  return fd;
}

Result<std::optional<UniqueFd>> OpenDirectoryIfThere(const std::string& root,
                                                     std::string_view relative) {
  Result<UniqueFd> directory = OpenDirectoryBelow(root, relative);
  if (directory) {
    return std::optional(std::move(*directory));
  }
  if (directory.error().code == ErrorCode::kNotFound) {
    return std::optional<UniqueFd>();
  }
  return std::move(directory.error());
}

// Uses system calls, because the C library's functions would set the groups of all threads.
OwnersRights::OwnersRights(const std::string& root) {
  if (geteuid() != 0) {
    return;
  }
  const std::optional<struct stat> owner = OwnerOf(root);
  const int count = std::max(getgroups(0, nullptr), 0);
  if (!owner) {
    return;
  }
  const gid_t group = GroupOf(owner->st_uid);
  // In a container, root may not be allowed to drop its groups. That gives no rights that it did
  // not have.
  groups_.resize(static_cast<std::size_t>(count));
  if (getgroups(count, groups_.data()) == count) {
    [[maybe_unused]] const long set = syscall(SYS_setgroups, 0, nullptr);
  }
  group_ = static_cast<gid_t>(setfsgid(group));
  setfsuid(owner->st_uid);
  taken_ = true;
}

OwnersRights::~OwnersRights() {
  if (taken_) {
    setfsuid(0);
    setfsgid(group_);
    // This can only fail if the constructor's call failed, too.
    [[maybe_unused]] const long set = syscall(SYS_setgroups, groups_.size(), groups_.data());
  }
}

void GiveToOwnerOf(int directory, int fd) {
  struct stat info {};
  if (geteuid() == 0 && fstat(directory, &info) == 0 && info.st_uid != 0) {
    // This may fail (for example on NFS, with the root of another machine). Everything else still
    // works.
    [[maybe_unused]] const int changed = fchown(fd, info.st_uid, info.st_gid);
  }
}

void GiveToOwnerOf(const std::string& directory, int fd) {
  if (geteuid() == 0) {
    const UniqueFd opened(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    GiveToOwnerOf(opened.get(), fd);
  }
}

Status SyncDirectory(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  if (fsync(fd.get()) != 0) {
    return ErrnoError(errno, fmt::format("could not fsync directory \"{}\"", path));
  }
  return Ok();
}

Status SyncDirectory(int fd, const std::string& path) {
  const UniqueFd readable = OpenToRead(fd, ".");
  if (!readable.valid()) {
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  if (fsync(readable.get()) != 0) {
    return ErrnoError(errno, fmt::format("could not fsync directory \"{}\"", path));
  }
  return Ok();
}

Result<UniqueFd> LocalDirectories::Make(std::string_view relative) {
  RETURN_IF_ERROR(MakeRoot());
  std::string parent = root_;
  ASSIGN_OR_RETURN(UniqueFd fd, OpenDirectoryBelow(root_, ""));
  while (!relative.empty()) {
    const std::size_t slash = relative.find('/');
    const std::string name(relative.substr(0, slash));
    ASSIGN_OR_RETURN(fd, MakeBelow(fd.get(), parent, name));
    parent += '/' + name;
    relative = slash == std::string_view::npos ? std::string_view() : relative.substr(slash + 1);
  }
  return fd;
}

Status LocalDirectories::MakeRoot() {
  struct stat info {};
  if (root_was_there_ && stat(root_.c_str(), &info) != 0 && errno == ENOENT) {
    return MakeError(ErrorCode::kFailedPrecondition, "repository directory \"{}\" has disappeared",
                     root_)
        .WithHint(
            "Mount the file system of that directory. Nothing is lost: the server keeps its WAL "
            "until it can be stored.");
  }
  std::size_t slash = root_.rfind('/');
  while (slash != 0 && stat(root_.substr(0, slash).c_str(), &info) != 0 && errno == ENOENT) {
    slash = root_.rfind('/', slash - 1);
  }
  while (slash != std::string::npos) {
    const std::size_t end = root_.find('/', slash + 1);
    RETURN_IF_ERROR(MakeAbove(slash == 0 ? "/" : root_.substr(0, slash), root_.substr(0, end)));
    slash = end;
  }
  NoteRoot();
  return Ok();
}

Status LocalDirectories::MakeAbove(const std::string& parent, const std::string& path) {
  const bool made = mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    // For a directory that exists, mkdir() may also fail with another error, on a read-only or
    // automounted parent.
    const int error_number = errno;
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      return ErrnoError(error_number, fmt::format("could not create directory \"{}\"", path));
    }
  }
  const UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (made && geteuid() == 0) {
    const UniqueFd readable = OpenToRead(AT_FDCWD, path.c_str());
    if (readable.valid()) {
      GiveToOwnerOf(parent, readable.get());
    }
  }
  return MakeDurable(fd.get(), made, false, [&] { return SyncDirectory(parent); });
}

Result<UniqueFd> LocalDirectories::MakeBelow(int parent, const std::string& parent_path,
                                             const std::string& name) {
  const std::string path = parent_path + '/' + name;
  const bool made = mkdirat(parent, name.c_str(), 0700) == 0;
  const int why_not = made || errno == EEXIST ? 0 : errno;
  UniqueFd fd(openat(parent, name.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  // The result of mkdir() does not matter when the directory exists: on a read-only file system it
  // fails.
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    return ErrnoError(why_not != 0 ? why_not : errno,
                      fmt::format("could not create directory \"{}\"", path));
  }
  if (!S_ISDIR(info.st_mode)) {
    return NotOurs(ErrorCode::kFailedPrecondition, path, info.st_mode);
  }
  if (made && geteuid() == 0) {
    const UniqueFd readable = OpenToRead(fd.get(), ".");
    if (readable.valid()) {
      GiveToOwnerOf(parent, readable.get());
    }
  }
  RETURN_IF_ERROR(
      MakeDurable(fd.get(), made, true, [&] { return SyncDirectory(parent, parent_path); }));
  return fd;
}

// An object is durable only when the name of its directory is. Another process may have made the
// directory and may crash before its fsync. So the name is synced here in any case.
Status LocalDirectories::MakeDurable(int fd, bool made, bool parent_is_ours,
                                     const std::function<Status()>& sync) {
  std::optional<Identity> identity;
  struct statx info {};
  if (fd >= 0 && statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &info) == 0 &&
      (info.stx_mask & STATX_BTIME) != 0) {
    identity = Identity(static_cast<std::uint64_t>(info.stx_dev_major) << 32 | info.stx_dev_minor,
                        info.stx_ino, info.stx_btime.tv_sec, info.stx_btime.tv_nsec);
    const std::lock_guard lock(mutex_);
    if (durable_.contains(*identity)) {
      return Ok();
    }
  }
  const Status synced = sync();
  // The directories above the root belong to the operator, and we may not be allowed to read them.
  if (!synced && (made || parent_is_ours)) {
    return synced.error();
  }
  if (identity) {
    const std::lock_guard lock(mutex_);
    if (durable_.size() >= kMostRemembered) {
      durable_.clear();
    }
    durable_.insert(*identity);
  }
  return Ok();
}

void LocalDirectories::RemoveEmpty(std::string_view relative) {
  while (!relative.empty()) {
    const std::size_t slash = relative.rfind('/');
    const std::string name(relative.substr(slash == std::string_view::npos ? 0 : slash + 1));
    relative = slash == std::string_view::npos ? std::string_view() : relative.substr(0, slash);
    const Result<UniqueFd> parent = OpenDirectoryBelow(root_, relative);
    if (!parent && parent.error().code == ErrorCode::kNotFound) {
      continue;
    }
    if (!parent) {
      return;
    }
    RemoveStaleTemporaries(parent->get(), name.c_str());
    if (unlinkat(parent->get(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      return;
    }
  }
}

}  // namespace veza
