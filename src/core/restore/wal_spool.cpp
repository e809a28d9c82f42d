#include "core/restore/wal_spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/bytes.h"
#include "core/codec/digest.h"
#include "core/postgres/lsn.h"
#include "core/storage/file_io.h"

namespace veza {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockName = "lock";
constexpr const char* kRequestName = "request";
constexpr const char* kPartSuffix = ".part";
constexpr std::size_t kDirectoryNameLength = 32;
constexpr std::size_t kCopySize = 1U << 20;
// The number of segments for which space is left to the server, whose own files are on the same
// disk.
constexpr std::uint64_t kSegmentsLeftFree = 8;
// The directory may be removed after it was created and before it is locked, but not forever.
constexpr int kLockAttempts = 10;

std::string SpoolOf(const std::string& directory) {
  return fs::path(directory).parent_path().string();
}

bool IsSegment(std::string_view name) {
  const std::optional<WalFileName> parsed = ParseWalFileName(name);
  return parsed.has_value() && parsed->kind == WalFileKind::kSegment;
}

// <segment>.part, or the temporary file that belongs to it.
bool IsPart(std::string_view name) {
  const std::size_t suffix = name.find(kPartSuffix);
  return suffix != std::string_view::npos && IsSegment(name.substr(0, suffix));
}

bool IsRequest(std::string_view name) {
  return name == kRequestName || name.starts_with(std::string(kRequestName) + '.');
}

bool IsDirectoryName(std::string_view name) {
  return name.size() == kDirectoryNameLength && std::ranges::all_of(name, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// Empty when the directory cannot be read.
std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

// Other accounts must not be able to put a file there, because recovery would use it.
bool IsOurs(const std::string& directory) {
  struct stat info {};
  return lstat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         info.st_uid == geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoError(errno, fmt::format("could not create directory \"{}\"", path));
  }
  return Ok();
}

// Whether the locked file still has its name. It may have been removed meanwhile, and another one
// created.
bool IsStillThere(int fd, const std::string& path) {
  struct stat locked {};
  struct stat named {};
  return fstat(fd, &locked) == 0 && stat(path.c_str(), &named) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

// Locks a directory that is a spool already. Invalid when it is not a spool, or when it is in use.
// Creates nothing, because the name alone does not prove that the directory is ours.
UniqueFd LockLeftOver(const std::string& directory) {
  const std::string path = directory + "/" + kLockName;
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  const bool locked = fd.valid() && IsOurs(directory) && flock(fd.get(), LOCK_EX | LOCK_NB) == 0 &&
                      IsStillThere(fd.get(), path);
  return locked ? std::move(fd) : UniqueFd();
}

Status CopyFile(const std::string& from, const std::string& to) {
  const UniqueFd source(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source.valid()) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", from));
  }
  RETURN_IF_ERROR(RequireReplaceableFile(to));
  unlink(to.c_str());
  UniqueFd target(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", to));
  }
  Bytes buffer(kCopySize);
  for (std::uint64_t offset = 0;;) {
    const ssize_t bytes = read(source.get(), buffer.data(), buffer.size());
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      return ErrnoError(errno, fmt::format("could not read file \"{}\"", from));
    }
    if (bytes == 0) {
      break;
    }
    RETURN_IF_ERROR(WriteAllAt(target.get(), offset,
                               {buffer.data(), static_cast<std::size_t>(bytes)},
                               fmt::format("file \"{}\"", to)));
    offset += static_cast<std::uint64_t>(bytes);
  }
  // Network file systems may report a full disk only on close().
  if (close(target.Release()) != 0) {
    return ErrnoError(errno, fmt::format("could not close file \"{}\"", to));
  }
  return Ok();
}

Status Rename(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", from));
  }
  return Ok();
}

}  // namespace

std::string WalSpoolDirectory(const std::string& spool, const WalSpoolKey& key) {
  Sha256 digest;
  for (const std::string* part :
       {&key.repository, &key.system_id, &key.destination, &key.recovery}) {
    digest.Update(AsBytes(fmt::format("{}:", part->size())));
    digest.Update(AsBytes(*part));
  }
  return spool + "/" + ToHex(digest.Finish()).substr(0, kDirectoryNameLength);
}

Result<std::optional<WalSpoolLock>> WalSpoolLock::TryAcquire(const std::string& directory) {
  const std::string path = directory + "/" + kLockName;
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    RETURN_IF_ERROR(MakeDirectory(SpoolOf(directory)));
    if (mkdir(directory.c_str(), 0700) != 0) {
      if (errno == ENOENT) {
        continue;
      }
      if (errno != EEXIST) {
        return ErrnoError(errno, fmt::format("could not create directory \"{}\"", directory));
      }
    }
    UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd.valid()) {
      if (errno == ENOENT) {
        continue;
      }
      return ErrnoError(errno, fmt::format("could not create file \"{}\"", path));
    }
    if (!IsOurs(directory)) {
      return MakeError(ErrorCode::kPermissionDenied,
                       "directory \"{}\" can be written by other users", directory);
    }
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        return std::optional<WalSpoolLock>();
      }
      return ErrnoError(errno, fmt::format("could not lock file \"{}\"", path));
    }
    if (IsStillThere(fd.get(), path)) {
      return std::optional(WalSpoolLock(std::move(fd)));
    }
  }
  return MakeError(ErrorCode::kIo, "directory \"{}\" is removed repeatedly", directory);
}

bool WalSpoolLock::IsHeld(const std::string& directory) {
  const UniqueFd fd(open((directory + "/" + kLockName).c_str(), O_RDWR | O_CLOEXEC));
  return fd.valid() && flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

std::string WalSpool::PathOf(const std::string& name) const {
  return directory_ + "/" + name;
}

std::string WalSpool::PartPath(const std::string& segment) const {
  return PathOf(segment) + kPartSuffix;
}

Result<bool> WalSpool::Take(const std::string& segment, const std::string& destination) const {
  const std::string path = PathOf(segment);
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) ||
      !IsWalSegmentSize(static_cast<std::uint64_t>(info.st_size)) || !IsOurs(directory_)) {
    return false;
  }
  RETURN_IF_ERROR(RequireReplaceableFile(destination));
  if (rename(path.c_str(), destination.c_str()) == 0) {
    return true;
  }
  if (errno == ENOENT) {
    return false;
  }
  if (errno != EXDEV) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", path));
  }
  const std::string temporary = fmt::format("{}.veza-tmp-{}", destination, getpid());
  Status status = CopyFile(path, temporary);
  if (status) {
    status = Rename(temporary, destination);
  }
  if (!status) {
    unlink(temporary.c_str());
    return std::move(status.error());
  }
  unlink(path.c_str());
  return true;
}

std::optional<std::uint64_t> WalSpool::BytesOfPart(const std::string& segment) const {
  if (access(PartPath(segment).c_str(), F_OK) != 0) {
    return std::nullopt;
  }
  std::uint64_t bytes = 0;
  for (const std::string& name : NamesIn(directory_)) {
    struct stat info {};
    if (name.starts_with(segment + kPartSuffix) && stat(PathOf(name).c_str(), &info) == 0) {
      bytes += static_cast<std::uint64_t>(info.st_size);
    }
  }
  return bytes;
}

Status WalSpool::Request(const std::string& segment) const {
  const std::string path = PathOf(kRequestName);
  const std::string temporary = fmt::format("{}.{}", path, getpid());
  const UniqueFd fd(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", temporary));
  }
  Status status = WriteAllAt(fd.get(), 0, AsBytes(segment), fmt::format("file \"{}\"", temporary));
  if (status) {
    status = Rename(temporary, path);
  }
  if (!status) {
    unlink(temporary.c_str());
  }
  return status;
}

std::optional<WalSpool::LastRequest> WalSpool::Requested() const {
  const UniqueFd fd(open(PathOf(kRequestName).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  std::array<char, 64> text{};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    return std::nullopt;
  }
  const ssize_t length = read(fd.get(), text.data(), text.size());
  const std::string segment(text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  if (!IsSegment(segment)) {
    return std::nullopt;
  }
  return LastRequest{
      segment, fmt::format("{} {}.{}", info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec)};
}

bool WalSpool::Holds(const std::string& segment) const {
  return access(PathOf(segment).c_str(), F_OK) == 0;
}

Status WalSpool::Claim(const std::string& segment, std::uint64_t size) const {
  struct statvfs space {};
  if (statvfs(directory_.c_str(), &space) != 0) {
    return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", directory_));
  }
  // Space that other claimed segments will still take.
  std::uint64_t promised = 0;
  for (const std::string& name : NamesIn(directory_)) {
    if (IsPart(name) && name.ends_with(kPartSuffix)) {
      const std::string other = name.substr(0, name.size() - std::strlen(kPartSuffix));
      promised += size - std::min(size, BytesOfPart(other).value_or(size));
    }
  }
  if (std::uint64_t{space.f_bavail} * space.f_frsize < (1 + kSegmentsLeftFree) * size + promised) {
    return MakeError(ErrorCode::kNoSpace, "too little space for \"{}\"", PathOf(segment));
  }
  const std::string part = PartPath(segment);
  const UniqueFd fd(
      open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", part));
  }
  return Ok();
}

Status WalSpool::Publish(const std::string& segment, std::uint64_t size) const {
  const std::string part = PartPath(segment);
  struct stat info {};
  if (stat(part.c_str(), &info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat file \"{}\"", part));
  }
  if (static_cast<std::uint64_t>(info.st_size) != size) {
    return MakeError(ErrorCode::kDataCorrupted, "file \"{}\" has {} bytes instead of {}", part,
                     info.st_size, size);
  }
  return Rename(part, PathOf(segment));
}

void WalSpool::Abandon(const std::string& segment) const {
  unlink(PartPath(segment).c_str());
}

void WalSpool::KeepOnly(const std::set<std::string>& segments) const {
  for (const std::string& name : NamesIn(directory_)) {
    if (IsSegment(name) && !segments.contains(name)) {
      unlink(PathOf(name).c_str());
    }
  }
}

void WalSpool::RemoveParts() const {
  for (const std::string& name : NamesIn(directory_)) {
    if (IsPart(name)) {
      unlink(PathOf(name).c_str());
    }
  }
}

void WalSpool::Remove() const {
  bool has_strangers = false;
  for (const std::string& name : NamesIn(directory_)) {
    // The lock file goes last: without it the directory is not recognised as a spool.
    if (IsSegment(name) || IsPart(name) || IsRequest(name)) {
      unlink(PathOf(name).c_str());
    } else {
      has_strangers = has_strangers || name != kLockName;
    }
  }
  if (has_strangers) {
    return;
  }
  unlink(PathOf(kLockName).c_str());
  rmdir(directory_.c_str());
  const std::string spool = SpoolOf(directory_);
  if (fs::path(spool).filename() == kDefaultWalSpool) {
    rmdir(spool.c_str());
  }
}

void RemoveLeftOverSpools(const std::string& spool) {
  for (const std::string& name : NamesIn(spool)) {
    if (!IsDirectoryName(name)) {
      continue;
    }
    const std::string directory = fmt::format("{}/{}", spool, name);
    const UniqueFd lock = LockLeftOver(directory);
    if (lock.valid()) {
      WalSpool(directory).Remove();
    }
  }
  if (fs::path(spool).filename() == kDefaultWalSpool) {
    rmdir(spool.c_str());
  }
}

}  // namespace veza
