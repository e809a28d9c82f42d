#include "core/restore/recovery_path.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include "core/restore/recovery_settings.h"
#include "core/restore/target.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// The value in the file; nullopt without one. It takes precedence over postgresql.conf.
Result<std::optional<std::string>> WantedTimeline(const std::string& data_directory) {
  const std::string path = data_directory + "/postgresql.auto.conf";
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return std::optional<std::string>();
  }
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  return FindSetting(text, "recovery_target_timeline");
}

std::string NotePath(const std::string& wal_directory) {
  return wal_directory + "/veza_followed";
}

// The newest timeline of which a segment was asked for and missing. 0 when this recovery has noted
// none.
TimelineId NewestAbsent(const std::string& wal_directory, const std::string& recovery) {
  const std::string path = NotePath(wal_directory);
  // Anything but a regular file is ignored; opening a FIFO would wait.
  const Result<std::string> text =
      RequireReplaceableFile(path) ? ReadTextFile(path) : Result<std::string>();
  const std::string_view note = text ? std::string_view(*text) : std::string_view();
  const std::size_t line = note.find('\n');
  if (line == std::string_view::npos || note.substr(0, line) != recovery) {
    return 0;
  }
  TimelineId timeline = 0;
  std::from_chars(note.data() + line + 1, note.data() + note.size(), timeline);
  return timeline;
}

}  // namespace

Result<std::optional<TimelineId>> NumberedTimeline(const std::string& data_directory) {
  ASSIGN_OR_RETURN(const std::optional<std::string> wanted, WantedTimeline(data_directory));
  const Result<TargetTimeline> timeline = ParseTargetTimeline(wanted.value_or("latest"));
  return timeline && timeline->kind == TargetTimeline::Kind::kNumber
             ? std::optional(timeline->number)
             : std::nullopt;
}

Result<std::optional<TimelineHistory>> FollowedHistory(const std::string& data_directory,
                                                       const std::string& wal_directory) {
  ASSIGN_OR_RETURN(const std::optional<TimelineId> timeline, NumberedTimeline(data_directory));
  if (!timeline) {
    return NewestHistoryIn(wal_directory);
  }
  if (*timeline == 1) {
    return std::optional(TimelineHistory{});
  }
  ASSIGN_OR_RETURN(TimelineHistory history, ReadHistoryIn(wal_directory, *timeline));
  return std::optional(std::move(history));
}

Status NoteAbsent(const std::string& wal_directory, const std::string& recovery,
                  TimelineId timeline) {
  if (NewestAbsent(wal_directory, recovery) >= timeline) {
    return Ok();
  }
  return ReplaceTextFile(NotePath(wal_directory), fmt::format("{}\n{}\n", recovery, timeline));
}

Result<std::optional<TimelineHistory>> HistoryOfStandby(const std::string& wal_directory,
                                                        const std::string& recovery,
                                                        TimelineId timeline) {
  const TimelineId newest = NewestAbsent(wal_directory, recovery);
  if (newest <= timeline) {
    return std::optional<TimelineHistory>();
  }
  ASSIGN_OR_RETURN(TimelineHistory history, ReadHistoryIn(wal_directory, newest));
  return std::optional(std::move(history));
}

Result<bool> CutAtFork(const std::string& segment, Lsn fork, const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
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
  // The range that ftruncate() cuts off and adds again reads as zeros.
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
  const SegmentNumber number = SegmentNumberOf(missing, segment_size);
  SegmentNumber next = number + 1;
  for (const TimelineSwitch& part : parts) {
    if (part.timeline < timeline) {
      continue;
    }
    // The segment in which a timeline was left belongs to the next timeline.
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
  // The server that began the last timeline had replayed everything up to there, so this segment
  // existed. The segment of the fork need not be in the archive yet: what is written after a
  // promotion goes into the new timeline's segment of that number, which is archived when it is
  // full.
  if (parts.size() > 1 && number < SegmentOf(parts[parts.size() - 2].switch_point, segment_size)) {
    return TimelineHistoryName(parts.back().timeline);
  }
  return std::optional<std::string>();
}

}  // namespace veza
