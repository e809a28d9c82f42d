// The timeline history files that the repository holds.
#pragma once

#include <string>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"

namespace veza {

// Reads the history file of a timeline from the repository. Timeline 1 has no file.
Result<TimelineHistory> ReadTimelineHistory(const WalArchive& archive, TimelineId timeline);

// The same for the timeline of a server. Prefers the file in its pg_wal, because a server that was
// just promoted may not have archived it yet.
Result<TimelineHistory> ReadServerHistory(const WalArchive& archive,
                                          const std::string& wal_directory, TimelineId timeline);

// The timelines after `from` whose history file the repository lacks, up to the highest timeline of
// which it has any file; at most the first 100. Timelines are numbered without holes, so each of
// them existed. Where one is missing, FindNewestTimeline() and PostgreSQL's `latest` stop.
Result<std::vector<TimelineId>> FindMissingHistories(const WalArchive& archive, TimelineId from);

// The timeline that PostgreSQL would call the latest, starting at `from`: the highest number N such
// that every history file from `from`+1 to N exists (findNewestTimeLine).
Result<TimelineId> FindNewestTimeline(const WalArchive& archive, TimelineId from);

}  // namespace veza
