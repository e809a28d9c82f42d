// The C++ side of a backup, and those of its phases that run in a thread because they may block.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "core/backup/backup_writer.h"
#include "core/backup/parent_index.h"
#include "core/backup/read_wal_changes.h"
#include "core/config/config.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/repository.h"
#include "core/schedule/planner.h"
#include "pg/server_repository.h"

namespace veza::pg {

// Sentences that threads have for the log. The main thread takes them. Thread-safe.
class LogQueue {
 public:
  void Put(const std::string& sentence);
  // Copies the oldest sentence into plain memory. False when there is none.
  bool Take(char* buffer, std::size_t size);

 private:
  std::mutex mutex_;
  std::deque<std::string> sentences_;
};

// Where the server is, as the main thread has last seen it. For threads, which may not ask the
// server.
struct ServerPosition {
  std::atomic<TimelineId> timeline{0};
  std::atomic<std::uint64_t> reached{0};  // the end of its WAL; on a standby, of what is replayed
  std::atomic<std::uint64_t> received{
      0};  // on a standby: the end of the WAL that has come from the primary
};

// What a backup leaves behind when it fails.
enum class CopyState {
  kNone,
  kCopying,     // packs, which nobody can use
  kFinished,    // everything but the WAL: another backup may complete it (finished_copy.h)
  kCommitting,  // the backup may exist, whatever the store has answered
};

// For requests that are allowed only while the lock is held. It is shorter than the lease, so that
// no request is tried again long after the lock was looked at.
inline constexpr std::chrono::minutes kOrdinaryPatience{1};

// A memory context owns it.
struct BackupJob {
  // At first the usual two minutes. While data are copied and WAL is waited for it is
  // backup_retry_timeout, and then kOrdinaryPatience. The store reads it, so it outlives the store.
  std::atomic<std::chrono::milliseconds> patience{std::chrono::minutes(2)};
  Environment environment;
  Config config;
  ServerFacts facts;
  LogQueue log;
  BackupProgress progress;
  BackupSummary summary;
  SteadyTime began;
  SteadyTime started{};  // at the start_time of the summary
  std::unique_ptr<Repository> repository;
  std::unique_ptr<ClusterLock> lock;
  std::shared_ptr<const SecretScan> secrets;  // null when the backup is encrypted
  std::unique_ptr<BackupWriter> writer;

  std::optional<SlotClaim> claim;  // of a scheduled backup
  // What was asked for; from ConnectAndChoose() on, what is made.
  BackupType type = BackupType::kFull;
  TimelineId timeline = 0;              // of the server
  std::optional<BackupSummary> parent;  // that a diff or an incr builds on
  std::string parent_name;              // NameBackup()
  std::shared_ptr<const ParentIndex> parent_index;
  std::optional<Lsn> position;             // of the end of WAL, on a primary
  bool hint_bits_logged = false;           // XLogHintBitIsNeeded()
  std::optional<Sha256Digest> own_full;    // SharedOwnBackups::full
  std::optional<Sha256Digest> own_newest;  // SharedOwnBackups::newest
  std::optional<Sha256Digest> own_copy;    // SharedOwnBackups::copy
  // Of a diff or an incr.
  std::string doubt;        // ParentChoice::doubt
  TimelineHistory history;  // of the server's timeline
  OwnWal own_wal;           // before the checkpoint of its start
  WalChangesFound wal;      // what WAL says of the changes
  Lsn reached;              // where the server was at the start, also on a standby
  ServerPosition now;
  std::atomic<CopyState> copy{CopyState::kNone};  // the main thread reads it meanwhile
  bool completes_copy = false;   // `summary` is of a copy that another backup has made
  bool copy_is_useless = false;  // no other backup would complete it
  // The backup waits until the primary, which writes little, finishes a segment. It has been asked
  // to.
  std::atomic<bool> waits_for_switch{false};
  bool archives_in_recovery = false;  // a standby with archive_mode = always
  // The backup waits for WAL that this standby regards as archived and has not stored here. Another
  // server may still store it.
  std::atomic<bool> waits_for_others{false};
  std::string notice;   // for the client that asked for the backup
  std::string expired;  // what ExpireOld() has removed, for the log; may be empty
};

// What the main thread collects for the last files. In palloc'ed memory.
struct LastFiles {
  const char* backup_label;
  const char* tablespace_map;
  const std::uint8_t* control_file;
  std::size_t control_file_size;
  std::uint32_t mode;
};

// Opens the repository, takes the lock, claims the slot of a scheduled backup, and checks that the
// data directory can be read. Then decides on the kind of the backup, and chooses its label or
// finds a finished copy to complete.
Status ConnectAndChoose(BackupJob* job);
// For a diff or an incr: finds out what has changed since the parent. The summary must have
// start_lsn.
Status FindChanges(BackupJob* job);
// Stores backup_label, tablespace_map and pg_control, finishes the last pack, and records that the
// copy is whole. Fills in `own_copy`.
Status StoreLastFiles(BackupJob* job, const LastFiles* files);
// Waits until the repository holds every segment of the backup. The archiver stores them, and
// without them the backup would be of no use. Keeps waiting as long as segments arrive, and while
// the store is away.
Status WaitForWalOf(BackupJob* job);
// Checks that the WAL is of this server as it is, and not of a history that it was put back from.
Status RequireOwnWal(BackupJob* job);
// Checks that the lock is still ours, stores backup.json, and records the backup for its slot. Uses
// kOrdinaryPatience: when the store is away for longer, the attempt fails and the copy stays.
Status Commit(BackupJob* job);
// Records for the slot of a scheduled backup that it has failed, or that somebody has cancelled it.
// A cancelled one is not tried again.
Status RecordFailure(BackupJob* job, const std::string& error, bool canceled);
// Removes what the backup has stored, unless the backup may exist or another one can complete it.
Status CleanUp(BackupJob* job, bool canceled);
// Removes what retention no longer keeps, with kOrdinaryPatience; nothing at all when its settings
// keep everything (KeepsEverything), not even left-overs. Fails only when it is cancelled:
// the backup is good whatever happens here, and the next one tries again.
Status ExpireOld(BackupJob* job);
// Ends the threads that copy, whatever they wait for. After a failure, call it before anything
// else: a thread that retries a request does so for as long as backup_retry_timeout, and only the
// cancellation ends that.
void EndWriter(BackupJob* job);
// Releases the lock within `patience`, so that other nodes can take it. The last step of every job,
// however it has ended.
void ReleaseLock(BackupJob* job, std::chrono::milliseconds patience);

}  // namespace veza::pg
