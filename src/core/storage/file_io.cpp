#include "core/storage/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

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
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is {}, and no file is put in its place",
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
  // What is none is not even opened: that alone does something to a device.
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

}  // namespace veza
