// Whether the archive is whole. A primary asks when it starts, after a promotion, and from time to
// time.
#pragma once

#include <string>
#include <vector>

#include "core/archive/gap_record.h"
#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/repository.h"

namespace veza {

struct ArchiveSurvey {
  std::string backup;  // the newest one on the server's history; empty when there is none
  Lsn backup_start;
  std::vector<std::string> missing;  // segments, in the order of replay, at most `limit`
};

// Finds the segments that are missing from the start of the newest backup on `history`, along that
// history, up to `end`: the first byte that need not be in the archive yet. The segment in which a
// timeline was left is looked for on the next timeline, whose segment holds the same WAL up to that
// point. Without such a backup, nothing is missing.
Result<ArchiveSurvey> SurveyArchive(const Repository& repository, std::uint64_t system_identifier,
                                    const TimelineHistory& history, Lsn end, std::size_t limit);

// The history files in `wal_directory` that the repository lacks. Where one is missing, later
// timelines are not found. Files that contradict `history`, that of the server's timeline, are left
// out: they were there before a pg_rewind.
Result<std::vector<std::string>> FindUnstoredHistories(const WalArchive& archive,
                                                       const std::string& wal_directory,
                                                       const TimelineHistory& history);

// Joins neighbours. `names` are as in ArchiveSurvey::missing.
std::vector<WalGap> JoinGaps(const std::vector<std::string>& names, std::uint64_t segment_size);

}  // namespace veza
