#include "core/postgres/timeline_history.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/limits.h"
#include "core/storage/file_io.h"

namespace veza {

bool TimelineHistory::Contains(TimelineId candidate, Lsn lsn) const {
  if (candidate == timeline) {
    return true;
  }
  for (const TimelineSwitch& ancestor : ancestors) {
    if (ancestor.timeline == candidate) {
      return lsn <= ancestor.switch_point;
    }
  }
  return false;
}

Result<TimelineHistory> ParseTimelineHistory(TimelineId timeline, std::string_view text) {
  TimelineHistory history;
  history.timeline = timeline;
  std::istringstream lines{std::string(text)};
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') {
      continue;
    }
    std::istringstream fields(line);
    TimelineSwitch ancestor;
    std::string lsn_text;
    const bool read = static_cast<bool>(fields >> ancestor.timeline >> lsn_text);
    const Result<Lsn> lsn = ParseLsn(lsn_text);
    if (!read || !lsn || ancestor.timeline == 0 || ancestor.timeline >= timeline ||
        (!history.ancestors.empty() && ancestor.timeline <= history.ancestors.back().timeline)) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "syntax error in timeline history file \"{}\": {}",
                       TimelineHistoryName(timeline), line);
    }
    ancestor.switch_point = *lsn;
    if (history.ancestors.size() == limits::kTimelines) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "timeline history file \"{}\" names more than {} ancestors",
                       TimelineHistoryName(timeline), limits::kTimelines)
          .WithHint(kTooManyTimelinesHint);
    }
    history.ancestors.push_back(ancestor);
  }
  return history;
}

Result<TimelineHistory> ReadHistoryIn(const std::string& wal_directory, TimelineId timeline) {
  const std::string path = fmt::format("{}/{}", wal_directory, TimelineHistoryName(timeline));
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  ASSIGN_OR_RETURN(TimelineHistory history, ParseTimelineHistory(timeline, text));
  // PostgreSQL writes no history file without an ancestor.
  if (history.ancestors.empty()) {
    return MakeError(ErrorCode::kDataCorrupted, "timeline history file \"{}\" names no ancestor",
                     path);
  }
  return history;
}

Result<std::optional<TimelineHistory>> NewestHistoryIn(const std::string& wal_directory) {
  TimelineId newest = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(wal_directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto name = ParseWalFileName(entry->path().filename().string());
    if (name && name->kind == WalFileKind::kTimelineHistory) {
      newest = std::max(newest, name->timeline);
    }
  }
  if (error) {
    return MakeError(ErrorCode::kIo, "could not read directory \"{}\": {}", wal_directory,
                     error.message());
  }
  if (newest == 0) {
    return std::optional<TimelineHistory>();
  }
  ASSIGN_OR_RETURN(TimelineHistory history, ReadHistoryIn(wal_directory, newest));
  return std::optional(std::move(history));
}

TimelineId TimelineOnPath(const TimelineHistory& path, SegmentNumber segment,
                          std::uint64_t segment_size) {
  for (const TimelineSwitch& ancestor : path.ancestors) {
    if (segment < SegmentOf(ancestor.switch_point, segment_size)) {
      return ancestor.timeline;
    }
  }
  return path.timeline;
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

Status CountSwitches(const TimelineHistory& history, std::size_t* total) {
  *total += history.ancestors.size();
  if (*total <= limits::kTimelineSwitches) {
    return Ok();
  }
  return MakeError(ErrorCode::kDataCorrupted,
                   "the timeline history files in the repository name more than {} ancestors",
                   limits::kTimelineSwitches)
      .WithHint(kTooManyTimelinesHint);
}

}  // namespace veza
