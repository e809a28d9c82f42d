// Which segments recovery may be given, seen from restore_command, which is only ever told a name.
//
// The server asks for a segment on the newest timeline of its path first, then on older ones
// (XLogFileReadAnyTLI). It does not mind where the older one was left: were it given the older
// timeline's segment there, it would go on into WAL that its timeline never had. And it takes
// whatever is missing for the end of WAL.
#pragma once

#include <optional>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"

namespace veza {

// The number that recovery_target_timeline in postgresql.auto.conf gives. Nothing: it gives none,
// so recovery looks for the latest timeline, or stays on its own.
Result<std::optional<TimelineId>> NumberedTimeline(const std::string& data_directory);

// Of the timeline that a server in recovery follows, from the history files in its pg_wal: it keeps
// the one that it has read, before it asks for the first segment. It is the timeline that
// recovery_target_timeline in postgresql.auto.conf names (a restore writes it there), or else the
// newest, although a standby also reads those of timelines that it then does not follow, and an
// earlier attempt may have left some. Nothing: there is none, so the server follows the timeline
// that it asks for. An error: there is one that cannot be read.
Result<std::optional<TimelineHistory>> FollowedHistory(const std::string& data_directory,
                                                       const std::string& wal_directory);

// The same for a standby, which reads and keeps histories of timelines that it then does not follow
// (rescanLatestTimeLine). What it asks for tells: a segment first on the newest timeline of its
// path that may have it, and only then, where that is not there, on older ones. So what was not
// there is noted, in a file beside the segments, for the next question of the same recovery.
//
// `recovery` is IdentifyRecoveringProcess(): a note of another one says nothing. Writes where the
// note changes.
Status NoteAbsent(const std::string& wal_directory, const std::string& recovery,
                  TimelineId timeline);
// For a question for a segment of `timeline`. Nothing: no newer one was asked for before.
Result<std::optional<TimelineHistory>> HistoryOfStandby(const std::string& wal_directory,
                                                        const std::string& recovery,
                                                        TimelineId timeline);

// Makes of a segment, in the file at `path`, what the server that left its timeline at `fork` had
// of it: zeros from there on, as in that server's own copy (XLogFileCopy). False, and the file is
// gone: all of it is behind the fork.
Result<bool> CutAtFork(const std::string& segment, Lsn fork, const std::string& path);

// The first segment behind the one that `missing` names that the repository has on the way of
// `path`: then recovery must not take that one for the end of WAL. `path`: null for one that stays
// on its timeline.
Result<std::optional<std::string>> FirstBehind(const WalArchive& archive,
                                               const TimelineHistory* path,
                                               const std::string& missing,
                                               std::uint64_t segment_size);

}  // namespace veza
