#include "core/storage/file_io.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

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

}  // namespace veza
