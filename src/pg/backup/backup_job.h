// What a backup is made of on the C++ side, and those of its phases that run in a thread because
// they may block.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "core/backup/backup_writer.h"
#include "core/backup/full_index.h"
#include "core/config/config.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"
#include "core/schedule/planner.h"
#include "pg/server_repository.h"

namespace veza::pg {

// Sentences that threads want in the log, handed over to the main thread. Thread-safe.
class LogQueue {
 public:
  void Put(const std::string& sentence);
  // Copies the oldest into plain memory; false when there is none.
  bool Take(char* buffer, std::size_t size);

 private:
  std::mutex mutex_;
  std::deque<std::string> sentences_;
};

// How the server is getting on, as the main thread last saw it; for threads, which ask it nothing.
struct ServerPosition {
  std::atomic<TimelineId> timeline{0};
  std::atomic<std::uint64_t> received{0};  // on a standby: WAL up to here has come from the primary
};

// What is left behind when a backup fails.
enum class CopyState {
  kNone,
  kCopying,     // packs, which nobody can use
  kFinished,    // everything but its WAL: another backup may complete it (finished_copy.h)
  kCommitting,  // it may exist, whatever the store has answered
};

// For what may be done only while the lock is held: below its lease, so that nothing is tried again
// long after the look that has allowed it.
inline constexpr std::chrono::minutes kOrdinaryPatience{1};

// Owned by a memory context.
struct BackupJob {
  // At first like everybody's; while data are copied and WAL is waited for, backup_retry_timeout;
  // then kOrdinaryPatience. Outlives the store, which reads it.
  std::atomic<std::chrono::milliseconds> patience{std::chrono::minutes(2)};
  Environment environment;
  Config config;
  ServerFacts facts;
  LogQueue log;
  BackupProgress progress;
  BackupSummary summary;
  std::unique_ptr<Repository> repository;
  std::unique_ptr<ClusterLock> lock;
  std::shared_ptr<const SecretScan> secrets;  // null when the backup is encrypted
  std::unique_ptr<BackupWriter> writer;

  std::optional<SlotClaim> claim;     // of a scheduled backup
  bool diff = false;                  // what was asked for, and from ChooseBackup() on what is made
  TimelineId timeline = 0;            // the server is on
  std::optional<BackupSummary> full;  // what a diff refers to
  std::shared_ptr<const FullIndex> full_index;
  std::optional<Lsn> position;           // of the end of WAL, on a primary
  bool hint_bits_logged = false;         // XLogHintBitIsNeeded()
  std::optional<Sha256Digest> own_full;  // SharedOwnBackups::full
  std::optional<Sha256Digest> own_copy;  // SharedOwnBackups::copy
  std::string doubt;                     // of a diff: FullChoice::doubt
  Lsn reached;                           // where the server was at the start, a standby, too
  ServerPosition now;
  std::atomic<CopyState> copy{CopyState::kNone};  // the main thread looks at it meanwhile
  bool completes_copy = false;   // `summary` is that of a copy that another backup has made
  bool copy_is_useless = false;  // nobody would complete it
  // For the primary, which writes little, to finish a segment; it has been asked to.
  std::atomic<bool> waits_for_switch{false};
  std::string notice;   // for who asked
  std::string expired;  // what ExpireOld() has removed, for the log; may be empty
};

// What the main thread collects for the last files; in palloc'ed memory.
struct LastFiles {
  const char* backup_label;
  const char* tablespace_map;
  const std::uint8_t* control_file;
  std::size_t control_file_size;
  std::uint32_t mode;
};

// Opens the repository, takes the lock, claims the slot of a scheduled backup, looks whether the
// data directory can be read, decides what kind of backup it is going to be, and chooses the label;
// or finds a finished copy to complete.
Status ConnectAndChoose(BackupJob* job);
// Stores backup_label, tablespace_map and pg_control, finishes the last pack, and notes that the
// copy is whole; `own_copy` is then what it is known by.
Status StoreLastFiles(BackupJob* job, const LastFiles* files);
// Waits until the repository holds every segment of the backup: the archiver ships them, and a
// backup without them would be worthless. As long as segments arrive, and while the store is away,
// it goes on waiting.
Status WaitForWalOf(BackupJob* job);
// Whether that is the WAL of this server, and not of a time that it was put back from.
Status RequireOwnWal(BackupJob* job);
// Looks whether the lock is still ours, makes the backup exist, and records it for its slot. With
// kOrdinaryPatience: when the store is away for longer, the attempt fails and the copy stays.
Status Commit(BackupJob* job);
// Records for the slot of a scheduled backup that it failed, or that somebody did not want it: then
// it is not tried again.
Status RecordFailure(BackupJob* job, const std::string& error, bool canceled);
// Removes what the backup has stored, unless it may exist or another one can complete it.
Status CleanUp(BackupJob* job, bool canceled);
// Removes what retention does not want any more, with kOrdinaryPatience. Fails only when it is
// cancelled: the backup is good whatever happens here, and the next one tries again.
Status ExpireOld(BackupJob* job);
// Ends what copies, whatever its threads wait for. To be called before anything else is done about
// a failure: a thread that tries again to reach the store does so for as long as
// backup_retry_timeout, and only the cancellation ends that.
void EndWriter(BackupJob* job);
// Lets other nodes in, within `patience`. The last thing that is done with a job, however it ended.
void ReleaseLock(BackupJob* job, std::chrono::milliseconds patience);

}  // namespace veza::pg
