// The WAL that a standby has streamed, and that its primary may not have archived.
//
// With archive_mode = on, a standby marks the WAL that it streams as archived (.done). A promotion
// requests a checkpoint at once. Where few buffers are dirty, that checkpoint would remove such
// segments before anybody could have compared the repository with pg_wal. A standby therefore marks
// the newest WAL that it has streamed as .ready. While it is in recovery this changes nothing:
// there is no archiver, and restartpoints remove such segments nevertheless (XLogArchiveCheckDone).
// After a promotion no checkpoint removes them before the archiver has sent them. Most of them were
// in the repository already.
//
// Only whole segments of the timeline that is replayed are marked. The last segment of an older
// timeline, and the one that was being written when the primary was shut down, have a .done as
// well, but their content is not what the primary has archived under that name.
#pragma once

namespace veza::pg {

// Called every second or so in recovery, and once more as soon as recovery has ended. The last call
// also marks what came last, and from then on the marked files wait for the archiver. Raises no
// ERROR.
void WatchStreamedWal();

}  // namespace veza::pg
