// Is the archive whole? What a primary asks when it starts, after a promotion, and every now and
// then.
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
  std::string backup;  // the newest one that the server's history contains; empty: there is none
  Lsn backup_start;
  std::vector<std::string> missing;  // segments, in the order of replay, at most `limit`
};

// Looks from the start of the newest backup that a server on `history` could go on from, along the
// history, up to `end`: the first byte that need not be in the archive yet. A segment in which a
// timeline was left is asked of the next timeline, which has what came before as well. Without such
// a backup, nothing is missing.
Result<ArchiveSurvey> SurveyArchive(const Repository& repository, std::uint64_t system_identifier,
                                    const TimelineHistory& history, Lsn end, std::size_t limit);

// Of the history files in `wal_directory`, those that the repository lacks: without one in the
// middle nobody finds the timelines behind it. What an ancestor's file says must be what `history`,
// that of the server's timeline, says of it; others are of a server that pg_rewind has given up.
Result<std::vector<std::string>> FindUnstoredHistories(const WalArchive& archive,
                                                       const std::string& wal_directory,
                                                       const TimelineHistory& history);

// Neighbours made one. `names`: as ArchiveSurvey::missing.
std::vector<WalGap> JoinGaps(const std::vector<std::string>& names, std::uint64_t segment_size);

}  // namespace veza
