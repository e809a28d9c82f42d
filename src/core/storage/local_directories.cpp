#include "core/storage/local_directories.h"

#include <dirent.h>
#include <fcntl.h>
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
#include "core/storage/local_tree.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// Longer than any upload lasts: a younger temporary file may belong to a writer that is alive.
constexpr auto kStaleAge = std::chrono::hours(24);
// A cache, not a register: beyond this it starts anew.
constexpr std::size_t kMostRemembered = 100'000;

// Removes temporary files of crashed writers from `path` until something else turns up.
void RemoveStaleTemporaries(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(path.c_str()), closedir);
  if (!stream) {
    return;
  }
  while (const dirent* entry = readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    struct stat info {};
    // The file system's time stamps are by the system's clock, whatever clock the store was given.
    if (!name.starts_with(kTemporaryPrefix) ||
        fstatat(dirfd(stream.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        SystemClock().Now() - FromTimespec(info.st_mtim) < kStaleAge) {
      return;
    }
    unlinkat(dirfd(stream.get()), entry->d_name, 0);
  }
}

// The first entry on the way to `path` that is not root's: whoever owns it decides on what is
// below.
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

// Whoever owns the directory itself writes there. Where that is root, somebody else may decide on
// the way to it, or on where root's own links on the way lead.
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

}  // namespace

// The C library's functions would set the groups of all threads.
OwnersRights::OwnersRights(const std::string& root) {
  if (geteuid() != 0) {
    return;
  }
  const std::optional<struct stat> owner = OwnerOf(root);
  const int count = std::max(getgroups(0, nullptr), 0);
  if (!owner) {
    return;
  }
  // Where this root may not change them (in a container), they are no more than its own.
  groups_.resize(static_cast<std::size_t>(count));
  if (getgroups(count, groups_.data()) == count) {
    [[maybe_unused]] const long set = syscall(SYS_setgroups, 0, nullptr);
  }
  group_ = static_cast<gid_t>(setfsgid(owner->st_gid));
  setfsuid(owner->st_uid);
  taken_ = true;
}

OwnersRights::~OwnersRights() {
  if (taken_) {
    setfsuid(0);
    setfsgid(group_);
    // As it was, so it can be again.
    [[maybe_unused]] const long set = syscall(SYS_setgroups, groups_.size(), groups_.data());
  }
}

void GiveToOwnerOf(const std::string& directory, int fd) {
  struct stat info {};
  if (geteuid() == 0 && stat(directory.c_str(), &info) == 0 && info.st_uid != 0) {
    // Where it cannot be done (root of another machine), everything else is as good as before.
    [[maybe_unused]] const int changed = fchown(fd, info.st_uid, info.st_gid);
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

Status LocalDirectories::Make(std::string_view relative) {
  RETURN_IF_ERROR(MakeRoot());
  std::string parent = root_;
  while (!relative.empty()) {
    const std::size_t slash = relative.find('/');
    std::string path = parent + '/' + std::string(relative.substr(0, slash));
    RETURN_IF_ERROR(MakeOne(parent, path, true));
    parent = std::move(path);
    relative = slash == std::string_view::npos ? std::string_view() : relative.substr(slash + 1);
  }
  return Ok();
}

Status LocalDirectories::MakeRoot() {
  struct stat info {};
  if (root_was_there_ && stat(root_.c_str(), &info) != 0 && errno == ENOENT) {
    return MakeError(ErrorCode::kFailedPrecondition, "repository directory \"{}\" has disappeared",
                     root_)
        .WithHint(
            "Mount the file system that it is on. Nothing is lost: what was to be stored waits.");
  }
  std::size_t slash = root_.rfind('/');
  while (slash != 0 && stat(root_.substr(0, slash).c_str(), &info) != 0 && errno == ENOENT) {
    slash = root_.rfind('/', slash - 1);
  }
  while (slash != std::string::npos) {
    const std::size_t end = root_.find('/', slash + 1);
    RETURN_IF_ERROR(
        MakeOne(slash == 0 ? "/" : root_.substr(0, slash), root_.substr(0, end), false));
    slash = end;
  }
  NoteRoot();
  return Ok();
}

Status LocalDirectories::MakeOne(const std::string& parent, const std::string& path,
                                 bool parent_is_ours) {
  const bool made = mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) {
    // A directory that exists on a read-only or automounted parent may also fail in other ways.
    const int error_number = errno;
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      return ErrnoError(error_number, fmt::format("could not create directory \"{}\"", path));
    }
  }
  if (made && geteuid() == 0) {
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (fd.valid()) {
      GiveToOwnerOf(parent, fd.get());
    }
  }
  // Another process may have made the directory and crash before its fsync: an object in it is
  // durable only when its name is, whoever made it.
  std::optional<Identity> identity;
  struct statx info {};
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_INO | STATX_BTIME, &info) == 0 &&
      (info.stx_mask & STATX_BTIME) != 0) {
    identity = Identity(static_cast<std::uint64_t>(info.stx_dev_major) << 32 | info.stx_dev_minor,
                        info.stx_ino, info.stx_btime.tv_sec, info.stx_btime.tv_nsec);
    const std::lock_guard lock(mutex_);
    if (durable_.contains(*identity)) {
      return Ok();
    }
  }
  const Status synced = SyncDirectory(parent);
  // What is above the root belongs to the operator and may not be readable to us.
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
    const std::string path = root_ + '/' + std::string(relative);
    RemoveStaleTemporaries(path);
    if (rmdir(path.c_str()) != 0) {
      return;
    }
    const std::size_t slash = relative.rfind('/');
    relative = slash == std::string_view::npos ? std::string_view() : relative.substr(0, slash);
  }
}

}  // namespace veza
