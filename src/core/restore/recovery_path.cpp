#include "core/restore/recovery_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>

#include "core/storage/unique_fd.h"

namespace veza {

std::optional<TimelineHistory> FollowedHistory(const std::string& wal_directory) {
  TimelineId newest = 0;
  std::string path;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(wal_directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = ParseWalFileName(entry->path().filename().string());
    if (name && name->kind == WalFileKind::kTimelineHistory && name->timeline > newest) {
      newest = name->timeline;
      path = entry->path().string();
    }
  }
  if (newest == 0) {
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  Result<TimelineHistory> history =
      ParseTimelineHistory(newest, std::string(std::istreambuf_iterator<char>(file), {}));
  return history ? std::optional(std::move(*history)) : std::nullopt;
}

std::optional<TimelineSwitch> ForkOf(const TimelineHistory& path, TimelineId timeline) {
  const auto found = std::ranges::find(path.ancestors, timeline, &TimelineSwitch::timeline);
  if (found == path.ancestors.end()) {
    return std::nullopt;
  }
  const auto next = std::next(found);
  return TimelineSwitch{next == path.ancestors.end() ? path.timeline : next->timeline,
                        found->switch_point};
}

Result<bool> CutAtFork(const std::string& segment, Lsn fork, const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
  }
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t begin = SegmentNumberOf(segment, size) * size;
  if (fork.value >= begin + size) {
    return true;
  }
  if (fork.value <= begin) {
    unlink(path.c_str());
    return false;
  }
  // What is cut off and added again reads as zeros.
  if (ftruncate(fd.get(), static_cast<off_t>(fork.value - begin)) != 0 ||
      ftruncate(fd.get(), info.st_size) != 0) {
    return ErrnoError(errno, fmt::format("could not write file \"{}\"", path));
  }
  return true;
}

Result<std::optional<std::string>> FirstBehind(const WalArchive& archive,
                                               const TimelineHistory* path,
                                               const std::string& missing,
                                               std::uint64_t segment_size) {
  constexpr Lsn kNoEnd{std::numeric_limits<std::uint64_t>::max()};
  const TimelineId timeline = ParseWalFileName(missing)->timeline;
  std::vector<TimelineSwitch> parts;
  if (path != nullptr && (path->timeline == timeline || ForkOf(*path, timeline))) {
    parts = path->ancestors;
    parts.push_back({path->timeline, kNoEnd});
  } else {
    parts.push_back({timeline, kNoEnd});
  }
  SegmentNumber next = SegmentNumberOf(missing, segment_size) + 1;
  for (const TimelineSwitch& part : parts) {
    if (part.timeline < timeline) {
      continue;
    }
    // The segment in which a timeline was left is the next one's.
    const SegmentNumber fork = SegmentOf(part.switch_point, segment_size);
    if (fork > next) {
      ASSIGN_OR_RETURN(const std::optional<SegmentNumber> found,
                       archive.FirstOf(part.timeline, next, fork - 1, segment_size));
      if (found) {
        return SegmentName(part.timeline, *found, segment_size);
      }
    }
    next = std::max(fork, next);
  }
  return std::optional<std::string>();
}

}  // namespace veza
