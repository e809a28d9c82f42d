#include "core/backup/file_reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace veza {

namespace {

constexpr int kReadDontCache =
    0x00000080;  // RWF_DONTCACHE, which the headers of Debian 12 do not have

// Whether no page of the range is in the kernel's page cache. False also when that cannot be told.
bool IsUncached(int fd, std::uint64_t offset, std::size_t length) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (length == 0 || offset % page != 0) {
    return false;
  }
  void* const mapped = mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) {
    return false;
  }
  std::vector<unsigned char> resident((length + page - 1) / page);
  const bool told = mincore(mapped, length, resident.data()) == 0;
  munmap(mapped, length);
  return told && std::all_of(resident.begin(), resident.end(),
                             [](unsigned char state) { return (state & 1) == 0; });
}

// Whether preadv2 takes the flag is found out by trying. After the first refusal it is not tried
// again, also on other file systems: reading is right without it.
std::atomic<bool> read_dont_cache_works{true};

// Reads once. Reads less at the end of the file.
ssize_t ReadOnce(int fd, std::uint64_t offset, MutableByteView into) {
  if (read_dont_cache_works.load(std::memory_order_relaxed)) {
    const iovec vector{into.data(), into.size()};
    const ssize_t bytes = preadv2(fd, &vector, 1, static_cast<off_t>(offset), kReadDontCache);
    if (bytes >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) {
      return bytes;
    }
    read_dont_cache_works.store(false, std::memory_order_relaxed);
  }
  return pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
}

}  // namespace

Status ReadForBackup(int fd, std::uint64_t offset, MutableByteView into, const std::string& path) {
  const bool drop_afterwards =
      !read_dont_cache_works.load(std::memory_order_relaxed) && IsUncached(fd, offset, into.size());
  std::size_t filled = 0;
  while (filled < into.size()) {
    const ssize_t bytes = ReadOnce(fd, offset + filled, into.subspan(filled));
    if (bytes < 0) {
      if (errno == EINTR) {
        continue;
      }
      return ErrnoError(errno, fmt::format("could not read file \"{}\"", path));
    }
    if (bytes == 0) {
      break;
    }
    filled += static_cast<std::size_t>(bytes);
  }
  std::fill(into.begin() + static_cast<std::ptrdiff_t>(filled), into.end(), std::uint8_t{0});
  if (drop_afterwards) {
    posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(into.size()),
                  POSIX_FADV_DONTNEED);
  }
  return Ok();
}

}  // namespace veza
