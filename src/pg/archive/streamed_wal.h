// The WAL that a standby has streamed, and that its primary may not have archived.
//
// With archive_mode = on a standby marks what it streams as done. A promotion requests a checkpoint
// at once, and where few buffers are dirty that has removed such segments before anybody could have
// compared the repository with pg_wal. So the newest of them are marked as ready while the server
// is still in recovery. Nobody sends them then: there is no archiver; and restartpoints remove them
// all the same (XLogArchiveCheckDone). After a promotion no checkpoint removes them before the
// archiver has sent them, for most of them once more.
//
// Only whole segments of the timeline that is replayed are marked. The last one of an older
// timeline, and the one being written when the primary was shut down, are marked as done as well,
// but are not what the primary has archived under that name.
#pragma once

namespace veza::pg {

// Every second or so in recovery, and as soon as that has ended: then the same is done for what
// came last, and the waiting of what is marked begins. Raises nothing.
void WatchStreamedWal();

}  // namespace veza::pg
