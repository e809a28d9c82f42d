// The timeline history files that the repository holds.
#pragma once

#include <string>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"

namespace veza {

// Reads it from the repository. Timeline 1 has no file.
Result<TimelineHistory> ReadTimelineHistory(const WalArchive& archive, TimelineId timeline);

// The same for the timeline of a server, from its pg_wal rather than from the repository, which one
// that was just promoted may not have sent it to.
Result<TimelineHistory> ReadServerHistory(const WalArchive& archive,
                                          const std::string& wal_directory, TimelineId timeline);

// The history files that the repository lacks of the timelines behind `from`, up to the highest of
// which it has anything; at most the first 100. Timelines are numbered without holes, so each of
// these existed. Where one is missing FindNewestTimeline(), and PostgreSQL's `latest`, stop.
Result<std::vector<TimelineId>> FindMissingHistories(const WalArchive& archive, TimelineId from);

// The timeline that PostgreSQL would call the latest, starting at `from`: the highest number N such
// that every history file from `from`+1 to N exists (findNewestTimeLine).
Result<TimelineId> FindNewestTimeline(const WalArchive& archive, TimelineId from);

}  // namespace veza
