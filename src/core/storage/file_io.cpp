#include "core/storage/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/limits.h"
#include "core/storage/unique_fd.h"

namespace veza {

Status WriteAllAt(int fd, std::uint64_t offset, ByteView bytes, const std::string& file) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return ErrnoError(errno, fmt::format("could not write {}", file));
    }
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Ok();
}

const char* NameOfKind(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

bool IsThere(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

std::string TextOfLink(const std::string& path) {
  std::error_code error;
  return std::filesystem::read_symlink(path, error).string();
}

bool IsSameFile(const std::string& one, const std::string& other) {
  std::error_code error;
  return std::filesystem::equivalent(one, other, error);
}

Status RequireReplaceableFile(const std::string& path) {
  if (path.empty() || path.ends_with('/')) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a file", path);
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? Ok()
                           : Status(ErrnoError(errno, fmt::format("could not stat \"{}\"", path)));
  }
  if (!S_ISREG(info.st_mode)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is {}, which is not replaced by a file",
                     path, NameOfKind(info.st_mode))
        .WithHint("Remove it if it is not needed, or name another file.");
  }
  return Ok();
}

Result<std::optional<std::string>> ReadRegularFile(const std::string& path, std::size_t limit) {
  const std::optional<std::string> nothing;
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    return errno == ENOENT || errno == ENOTDIR
               ? Result<std::optional<std::string>>(nothing)
               : ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
  }
  // Anything but a regular file is not even opened, because opening a device may have effects.
  const auto is_regular = [&info] { return S_ISREG(info.st_mode); };
  UniqueFd file;
  if (is_regular()) {
    file = UniqueFd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file.valid() && errno == ENOENT) {
      return nothing;
    }
    if (!file.valid() || fstat(file.get(), &info) != 0) {
      return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
    }
  }
  if (!is_regular()) {
    return MakeError(ErrorCode::kFailedPrecondition, "\"{}\" is not a regular file", path);
  }
  std::string text(limit, '\0');
  std::size_t size = 0;
  while (size < limit) {
    const ssize_t bytes = read(file.get(), text.data() + size, limit - size);
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      return ErrnoError(errno, fmt::format("could not read file \"{}\"", path));
    }
    if (bytes == 0) {
      break;
    }
    size += static_cast<std::size_t>(bytes);
  }
  text.resize(size);
  return std::optional<std::string>(std::move(text));
}

Result<std::string> ReadTextFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
  }
  std::string text;
  std::array<char, 4096> part{};
  while (file.read(part.data(), part.size()) || file.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > limits::kTextFile) {
      return MakeError(ErrorCode::kDataCorrupted, "file \"{}\" is larger than {} bytes", path,
                       limits::kTextFile);
    }
  }
  // istreambuf_iterator would throw when the file cannot be read.
  if (file.bad()) {
    return ErrnoError(errno, fmt::format("could not read file \"{}\"", path));
  }
  return text;
}

Status ReplaceTextFile(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  const std::string named = fmt::format("file \"{}\"", temporary);
  const auto remove_and_fail = [&](Error error) {
    unlink(temporary.c_str());
    return error;
  };
  // A file of this name can only be left over from a process that has ended.
  unlink(temporary.c_str());
  const UniqueFd file(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, "could not create " + named)
        .WithHint("Allow this account to create files in that directory.");
  }
  Status written = WriteAllAt(file.get(), 0, AsBytes(content), named);
  if (!written) {
    return remove_and_fail(std::move(written.error()));
  }
  if (fchmod(file.get(), 0644) != 0 || fsync(file.get()) != 0) {
    return remove_and_fail(ErrnoError(errno, "could not sync " + named));
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return remove_and_fail(ErrnoError(errno, fmt::format("could not replace file \"{}\"", path)));
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const UniqueFd parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid() || fsync(parent.get()) != 0) {
    return ErrnoError(errno, fmt::format("could not sync directory \"{}\"", directory));
  }
  return Ok();
}

}  // namespace veza
