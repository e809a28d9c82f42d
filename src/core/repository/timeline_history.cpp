#include "core/repository/timeline_history.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

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
    if (!read || !lsn || ancestor.timeline >= timeline ||
        (!history.ancestors.empty() && ancestor.timeline <= history.ancestors.back().timeline)) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "syntax error in timeline history file \"{}\": {}",
                       TimelineHistoryName(timeline), line);
    }
    ancestor.switch_point = *lsn;
    history.ancestors.push_back(ancestor);
  }
  return history;
}

Result<TimelineHistory> ReadTimelineHistory(const WalArchive& archive, TimelineId timeline) {
  if (timeline == 1) {
    return TimelineHistory{};
  }
  ASSIGN_OR_RETURN(const std::string text, archive.FetchText(TimelineHistoryName(timeline)));
  return ParseTimelineHistory(timeline, text);
}

Result<TimelineHistory> ReadServerHistory(const WalArchive& archive,
                                          const std::string& wal_directory, TimelineId timeline) {
  std::ifstream file(fmt::format("{}/{}", wal_directory, TimelineHistoryName(timeline)),
                     std::ios::binary);
  if (timeline == 1 || !file) {
    return ReadTimelineHistory(archive, timeline);
  }
  return ParseTimelineHistory(timeline, std::string(std::istreambuf_iterator<char>(file), {}));
}

Result<TimelineId> FindNewestTimeline(const WalArchive& archive, TimelineId from) {
  TimelineId newest = from;
  for (;;) {
    ASSIGN_OR_RETURN(const bool exists, archive.Contains(TimelineHistoryName(newest + 1)));
    if (!exists) {
      return newest;
    }
    ++newest;
  }
}

Result<std::vector<TimelineId>> FindMissingHistories(const WalArchive& archive, TimelineId from) {
  // Anybody may have put a directory of any name there.
  constexpr std::size_t kMost = 100;
  ASSIGN_OR_RETURN(const std::vector<TimelineId> known, archive.Timelines());
  std::vector<TimelineId> missing;
  if (known.empty()) {
    return missing;
  }
  for (TimelineId timeline = from; timeline < known.back() && missing.size() < kMost;) {
    ++timeline;
    bool there = std::ranges::binary_search(known, timeline);
    if (there) {
      ASSIGN_OR_RETURN(there, archive.Contains(TimelineHistoryName(timeline)));
    }
    if (!there) {
      missing.push_back(timeline);
    }
  }
  return missing;
}

}  // namespace veza
