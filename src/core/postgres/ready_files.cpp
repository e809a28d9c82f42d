#include "core/postgres/ready_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "core/postgres/lsn.h"

namespace veza {
namespace {

constexpr std::string_view kReady = ".ready";

bool IsHistory(const std::string& file) {
  return file.ends_with(".history");
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

TimePoint ModifiedAt(const struct stat& info) {
  return TimePoint(std::chrono::seconds(info.st_mtim.tv_sec) +
                   std::chrono::microseconds(info.st_mtim.tv_nsec / 1000));
}

}  // namespace

bool IsArchivedBefore(const std::string& a, const std::string& b) {
  return IsHistory(a) != IsHistory(b) ? IsHistory(a) : a < b;
}

Result<ReadyFiles> ListReadyFiles(const std::string& wal_directory, std::size_t limit,
                                  ReadyAges ages) {
  const std::string path = wal_directory + "/archive_status";
  const std::unique_ptr<DIR, DirectoryCloser> directory(opendir(path.c_str()));
  if (!directory) {
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  ReadyFiles ready;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(directory.get());  // NOLINT(concurrency-mt-unsafe): own DIR
    if (entry == nullptr) {
      if (errno != 0) {
        return ErrnoError(errno, fmt::format("could not read directory \"{}\"", path));
      }
      break;
    }
    std::string_view name = entry->d_name;
    if (!name.ends_with(kReady)) {
      continue;
    }
    name.remove_suffix(kReady.size());
    if (!ParseWalFileName(name)) {
      continue;
    }
    if (ages == ReadyAges::kRead) {
      struct stat info {};
      if (fstatat(dirfd(directory.get()), entry->d_name, &info, 0) != 0) {
        continue;
      }
      const TimePoint since = ModifiedAt(info);
      if (ready.oldest.empty() || since < ready.oldest_since) {
        ready.oldest = name;
        ready.oldest_since = since;
      }
    }
    ++ready.count;
    // A heap whose top is the last of the kept files in the archiver's order.
    if (ready.first.size() == limit) {
      if (limit == 0 || !IsArchivedBefore(std::string(name), ready.first.front())) {
        continue;
      }
      std::ranges::pop_heap(ready.first, IsArchivedBefore);
      ready.first.pop_back();
    }
    ready.first.emplace_back(name);
    std::ranges::push_heap(ready.first, IsArchivedBefore);
  }
  std::ranges::sort_heap(ready.first, IsArchivedBefore);
  return ready;
}

}  // namespace veza
