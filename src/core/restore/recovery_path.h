// Decides which segments recovery may be given. restore_command only knows the name that the server
// asks for.
//
// The server asks for a segment on the newest timeline of its path first, and then on older ones
// (XLogFileReadAnyTLI). It does not check where the older timeline was left. If it got the older
// timeline's segment there, it would continue into WAL that does not belong to its path. And it
// takes any missing segment for the end of WAL.
#pragma once

#include <optional>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/postgres/timeline_history.h"

namespace veza {

// The number that recovery_target_timeline in postgresql.auto.conf gives. nullopt when it gives
// none: then recovery follows the latest timeline, or its own.
Result<std::optional<TimelineId>> NumberedTimeline(const std::string& data_directory);

// The history of the timeline that a recovering server follows, from the history files in its
// pg_wal. The server stores the history that it has read there before it asks for the first
// segment. If recovery_target_timeline in postgresql.auto.conf names a number (a restore writes
// it), that timeline counts. Otherwise the newest one counts, although a standby also reads
// histories that it then does not follow, and an earlier recovery may have left some. nullopt when
// there is no history file: then the server follows the timeline for which it asks. An error when
// the file cannot be read.
Result<std::optional<TimelineHistory>> FollowedHistory(const std::string& data_directory,
                                                       const std::string& wal_directory);

// The same for a standby, which stores histories of timelines that it then does not follow
// (rescanLatestTimeLine). Its requests tell its path: it asks for a segment on the newest timeline
// of its path first, and on older ones only if that is missing. So a missing segment is noted, in a
// file beside the segments, for the next request of the same recovery.
//
// `recovery` is IdentifyRecoveringProcess(). A note of another process is ignored. Writes only when
// the note changes.
Status NoteAbsent(const std::string& wal_directory, const std::string& recovery,
                  TimelineId timeline);
// For a request for a segment of `timeline`. nullopt when no newer timeline was asked for before.
Result<std::optional<TimelineHistory>> HistoryOfStandby(const std::string& wal_directory,
                                                        const std::string& recovery,
                                                        TimelineId timeline);

// Cuts the segment in the file at `path` where its timeline was left at `fork`: fills the rest with
// zeros, as the server that left the timeline does in its own copy (XLogFileCopy). Returns false,
// and removes the file, when the whole segment is after the fork.
Result<bool> CutAtFork(const std::string& segment, Lsn fork, const std::string& path);

// What shows that there was WAL after `missing`, so that recovery must not take it for the end of
// WAL: the first segment after it that the repository holds along `path`. Or, without one, the
// history file of the followed timeline, if that was begun in a later segment. nullopt when nothing
// shows it. `path` is null for a recovery that stays on its timeline.
Result<std::optional<std::string>> FirstBehind(const WalArchive& archive,
                                               const TimelineHistory* path,
                                               const std::string& missing,
                                               std::uint64_t segment_size);

}  // namespace veza
