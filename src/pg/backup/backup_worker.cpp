// The worker that makes a backup. RunBackup() is the list of its phases. The worker holds no
// snapshot and no transaction, and is connected to no database. Whatever goes wrong in it is an
// ERROR: the server ends the backup state (do_pg_abort_backup), the reason goes into shared memory
// and the log, and the worker ends. Objects that are stored by then are garbage, because
// backup.json is written last. The worker removes them if it can (TellFailure). A copy that lacks
// only its WAL is left to the next backup (finished_copy.h).

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/backup/choose_parent.h"
#include "core/postgres/tablespace_map.h"
#include "core/repository/slot_claim.h"
#include "pg/backup/backup_job.h"
#include "pg/settings.h"
//
#include "pg/backup/backup_slot.h"
#include "pg/backup/database_list.h"
#include "pg/backup/inventory.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_key.h"

extern "C" {
#include <access/xlogrecovery.h>
#include <catalog/pg_control.h>
#include <common/file_perm.h>
#include <postmaster/bgwriter.h>
#include <replication/walreceiver.h>
#include <storage/procsignal.h>
#include <tcop/tcopprot.h>
}

namespace veza::pg {

namespace {

// A new max_rate also applies to the backup that runs.
void FollowSettings(BackupJob* job) {
  static std::uint64_t generation = 0;
  if (generation == SettingsGeneration()) {
    return;
  }
  generation = SettingsGeneration();
  const Status status = CatchExceptions([job]() -> Status {
    ASSIGN_OR_RETURN(const Config config, CurrentConfig());
    job->progress.max_rate = config.max_rate;
    return Ok();
  });
  if (!status) {
    job->log.Put(status.error().message);
  }
}

TimeLineID CurrentTimeline() {
  TimeLineID timeline = 0;
  if (!RecoveryInProgress()) {
    return GetWALInsertionTimeLine();
  }
  GetXLogReplayRecPtr(&timeline);
  return timeline;
}

const std::uint8_t* ReadControlFile() {
  auto* const content = static_cast<char*>(palloc(PG_CONTROL_FILE_SIZE));
  LWLockAcquire(ControlFileLock, LW_SHARED);
  const int fd = BasicOpenFile(XLOG_CONTROL_FILE, O_RDONLY | PG_BINARY);
  if (fd < 0) {
    ereport(ERROR, (errcode_for_file_access(),
                    errmsg("could not open file \"%s\": %m", XLOG_CONTROL_FILE)));
  }
  const ssize_t bytes = read(fd, content, PG_CONTROL_FILE_SIZE);
  close(fd);
  LWLockRelease(ControlFileLock);
  if (bytes != PG_CONTROL_FILE_SIZE) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("could not read file \"%s\": read %zd of %d", XLOG_CONTROL_FILE, bytes,
                           PG_CONTROL_FILE_SIZE)));
  }
  return reinterpret_cast<const std::uint8_t*>(content);
}

// While files are copied, the primary of a standby may go on to another timeline, or the standby
// itself may be promoted. The WAL from the start of a backup to its end must be of one timeline. So
// the backup fails as soon as its end must lie on the new timeline.
void RefuseAfterSwitch(const BackupJob* job) {
  const TimeLineID timeline = job->now.timeline;
  if (job->copy != CopyState::kCopying || !job->summary.from_standby || timeline == job->timeline) {
    return;
  }
  if (!RecoveryInProgress()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the standby was promoted during online backup"),
                    errhint("Take the backup again.")));
  }
  // The end of a backup on a standby is the minimum recovery point.
  const auto* const control = reinterpret_cast<const ControlFileData*>(ReadControlFile());
  if (control->minRecoveryPointTLI != job->timeline) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the primary's timeline changed from %u to %u during the backup",
                           job->timeline, control->minRecoveryPointTLI),
                    errhint("Take the backup again, on the new timeline.")));
  }
  pfree(const_cast<ControlFileData*>(control));
}

XLogRecPtr ReachedPosition() {
  return RecoveryInProgress() ? GetXLogReplayRecPtr(nullptr) : GetXLogInsertRecPtr();
}

void PublishPosition(BackupJob* job) {
  job->now.timeline = CurrentTimeline();
  job->now.reached = ReachedPosition();
  if (RecoveryInProgress()) {
    job->now.received =
        std::max(GetWalRcvFlushRecPtr(nullptr, nullptr), GetXLogReplayRecPtr(nullptr));
  }
}

// Tells, in the log and to the client, what the backup waits for.
void TellOfWaiting(const char* sentence, const char* hint) {
  ereport(LOG, (errmsg("%s", sentence), errhint("%s", hint)));
  PublishNotice(psprintf("%s: %s", sentence, hint));
}

// The primary stores the WAL with the end of a backup on a standby, when it has finished the
// segment. It has been asked to (AskSlowPrimary), so this is not a problem yet.
void TellSlowPrimary(const BackupJob* job) {
  static bool told = false;
  if (job->waits_for_switch && !std::exchange(told, true)) {
    TellOfWaiting("the backup waits for the primary, which writes little, to finish a WAL segment",
                  "The primary has been asked to finish it, and does so within two minutes if it "
                  "runs version 0.2 and archives to the same repository. Otherwise run SELECT "
                  "pg_switch_wal() there, or set archive_timeout.");
  }
}

// Without this, nothing would be said before backup_wal_timeout is over.
void TellUnstored(const BackupJob* job) {
  static bool told = false;
  if (job->waits_for_others && !std::exchange(told, true)) {
    TellOfWaiting(
        "the backup waits for WAL that this standby does not archive",
        "The standby received it before it archived with veza_backup and archive_mode = always. "
        "Unless another server stores it in this repository, cancel the backup, run CHECKPOINT on "
        "the primary, wait until the standby has replayed it, and take the backup again.");
  }
}

void PublishProgress(void* argument) {
  auto* const job = static_cast<BackupJob*>(argument);
  SharedProgress* const shared = GetSharedProgress();
  pg_atomic_write_u64(&shared->bytes_total, job->progress.bytes_total);
  pg_atomic_write_u64(&shared->bytes_done, job->progress.bytes_done);
  pg_atomic_write_u64(&shared->files_total, job->progress.files_total);
  pg_atomic_write_u64(&shared->files_done, job->progress.files_done);
  pg_atomic_write_u64(&shared->bytes_stored, job->progress.bytes_stored);
  pg_atomic_write_u64(&shared->throttled_us, job->progress.throttled_us);
  char sentence[1024];
  while (job->log.Take(sentence, sizeof sentence)) {
    ereport(WARNING, (errmsg("%s", sentence)));
  }
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
  FollowSettings(job);
  PublishPosition(job);
  TellSlowPrimary(job);
  TellUnstored(job);
  RefuseAfterSwitch(job);
}

// Runs `work(job)` in a thread as one phase of the backup.
template <typename Work>
void RunPhase(BackupJob* job, BackupPhase phase, Work work) {
  static_assert(std::is_trivially_destructible_v<Work>, "capture plain pointers only");
  static const uint32 wait_event = WaitEvent("VezaBackupWorker");
  SetPhase(phase);
  auto* const call =
      NewInContext<FunctionCall>(job->environment, [job, work] { return work(job); });
  RunCall(call, wait_event, PublishProgress, job);
}

// --- The main thread's part ----------------------------------------------------------------------

// Learns what the choice of a parent needs, and what only this thread can ask the server for.
void LearnAboutServer(BackupJob* job) {
  const SharedOwnBackups own = ReadOwnBackups();
  job->hint_bits_logged = XLogHintBitIsNeeded();
  job->archives_in_recovery = RecoveryInProgress() && XLogArchivingAlways();
  if (!RecoveryInProgress()) {
    job->position = Lsn{GetXLogInsertRecPtr()};
  }
  if (own.full.known) {
    job->own_full = own.full.sha256;
  }
  if (own.newest.known) {
    job->own_newest = own.newest.sha256;
  }
  if (own.copy.known) {
    job->own_copy = own.copy.sha256;
  }
}

// Fills in the current settings and facts of the server. False, with a report, when it fails.
bool PrepareJob(BackupJob* job, ErrorReport* report) {
  const Status status = CatchExceptions([job]() -> Status {
    ASSIGN_OR_RETURN(job->config, CurrentConfig());
    job->facts = GetServerFacts();
    BackupSummary& summary = job->summary;
    summary.system_identifier = job->facts.system_identifier;
    summary.node = job->facts.node;
    summary.postgres_version_num = PG_VERSION_NUM;
    summary.postgres_version = PG_VERSION;
    summary.wal_segment_size = static_cast<std::uint64_t>(wal_segment_size);
    summary.block_size = BLCKSZ;
    summary.data_checksum_version = DataChecksumsEnabled() ? 1 : 0;
    summary.cipher = CipherName(job->config.cipher);
    summary.from_standby = !job->facts.is_primary;
    job->timeline = CurrentTimeline();
    job->reached = Lsn{ReachedPosition()};
    job->progress.max_rate = job->config.max_rate;
    return Ok();
  });
  return !Failed(status, report);
}

// The databases that are the same ones as in the parent.
std::set<std::uint32_t> UnchangedDatabases(const BackupSummary& parent, const BackupSummary& now) {
  std::set<std::uint32_t> unchanged;
  for (const DatabaseSummary& database : now.databases) {
    for (const DatabaseSummary& before : parent.databases) {
      if (before.oid == database.oid && before.row_xid == database.row_xid) {
        unchanged.insert(database.oid);
      }
    }
  }
  return unchanged;
}

// What the server has told about its databases, extensions and settings.
struct ServerContents {
  const DatabaseRow* databases;
  const InventoryItem* inventory;
};

void Describe(const ServerContents& contents, BackupSummary& summary) {
  for (const DatabaseRow* row = contents.databases; row != nullptr; row = row->next) {
    summary.databases.push_back({row->oid, NameStr(row->name), row->row_xid, 0});
  }
  for (const InventoryItem* item = contents.inventory; item != nullptr; item = item->next) {
    if (item->kind == 'e') {
      summary.extensions.push_back({item->database, item->name, item->value});
    } else {
      summary.settings[item->name] = item->value;
    }
  }
}

bool NoteStart(BackupJob* job, const ServerBackup* backup, ErrorReport* report) {
  const Status status = CatchExceptions([&]() -> Status {
    BackupSummary& summary = job->summary;
    summary.timeline = BackupStartTimeline(backup);
    summary.start_lsn = Lsn{BackupStartLsn(backup)};
    summary.start_wal =
        SegmentName(summary.timeline, SegmentOf(summary.start_lsn, summary.wal_segment_size),
                    summary.wal_segment_size);
    summary.backup_label = BackupLabelFile(backup);
    return Ok();
  });
  return !Failed(status, report);
}

bool MakeWriter(BackupJob* job, const ServerBackup* backup, const ServerContents& contents,
                ErrorReport* report) {
  const Status status = CatchExceptions([&]() -> Status {
    BackupSummary& summary = job->summary;
    Describe(contents, summary);
    if (job->repository->seal_policy().key) {
      summary.key_id = job->repository->seal_policy().key->hex_id();
    }
    BackupWriterOptions options;
    options.walk = MakeWalkOptions(job->config, job->facts);
    ASSIGN_OR_RETURN(options.walk.tablespaces, ParseTablespaceMap(backup->tablespace_map->data));
    options.label = summary.label;
    options.start_lsn = summary.start_lsn;
    if (job->parent) {
      options.parent = ParentReference{.index = job->parent_index,
                                       .start_lsn = job->parent->start_lsn,
                                       .changed = job->wal.changes,
                                       .lsns_tell = job->doubt.empty(),
                                       .first_lsn = Lsn{summary.wal_segment_size},
                                       .databases = UnchangedDatabases(*job->parent, summary)};
    }
    options.block_size = BLCKSZ;
    options.segment_blocks = RELSEG_SIZE;
    options.verify_checksums = summary.data_checksum_version != 0;
    options.secrets = job->secrets;
    options.jobs = job->config.jobs;
    options.uploads = job->config.s3_connections;
    options.warn = [job](const std::string& sentence) { job->log.Put(sentence); };
    job->writer =
        std::make_unique<BackupWriter>(*job->repository, std::move(options), job->progress);
    return Ok();
  });
  return !Failed(status, report);
}

void NoteStop(BackupJob* job, const ServerBackup* backup) {
  BackupSummary& summary = job->summary;
  summary.stop_lsn = Lsn{BackupStopLsn(backup)};
  summary.stop_time = job->environment.clock->Now();
  const auto took = job->environment.clock->Steady() - job->started;
  summary.duration =
      static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::seconds>(took).count());
  summary.stop_wal =
      SegmentName(summary.timeline, SegmentBefore(summary.stop_lsn, summary.wal_segment_size),
                  summary.wal_segment_size);
}

std::vector<ListedDatabase> Listed(const DatabaseRow* rows) {
  std::vector<ListedDatabase> listed;
  for (const DatabaseRow* row = rows; row != nullptr; row = row->next) {
    listed.push_back({row->oid, NameStr(row->name), row->tablespace, row->is_invalid});
  }
  return listed;
}

// Checks that every database was copied whole that was there when the backup began and still is. If
// so, it removes from the summary databases that were dropped, or are being dropped.
Status HoldAgainst(BackupJob* job, const DatabaseRow* at_start, const DatabaseRow* now) {
  const CopiedContents& contents = job->writer->contents();
  if (const std::string missing = contents.MissingOfCluster(); !missing.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "the data directory has no \"{}\"", missing)
        .WithHint(
            "Without it the backup would be incomplete. Find out what has moved or removed it.");
  }
  const std::vector<ListedDatabase> databases = Listed(now);
  if (const auto uncopied = FindUncopied(contents, Listed(at_start), databases)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "database \"{}\" would be incomplete in the backup: {} is missing",
                     uncopied->database.name, uncopied->missing)
        .WithHint(
            "Look whether its files are where PostgreSQL expects them. If it was being dropped or "
            "moved, take the backup again.");
  }
  std::erase_if(job->summary.databases, [&](const DatabaseSummary& database) {
    return !IsNamedInSummary(contents, database.oid, databases);
  });
  return Ok();
}

// Tries again for some seconds: a database that is being dropped loses its files a moment before
// its row.
void RequireWholeCluster(BackupJob* job, const DatabaseRow* at_start) {
  static const uint32 wait_event = WaitEvent("VezaBackupDatabases");
  constexpr int kPatienceMs = 10'000;
  constexpr int kPauseMs = 250;
  for (int waited = 0;; waited += kPauseMs) {
    const DatabaseRow* const now = ReadDatabaseRows();
    ErrorReport report;
    if (!Failed(CatchExceptions([&] { return HoldAgainst(job, at_start, now); }), &report)) {
      return;
    }
    if (waited >= kPatienceMs) {
      Raise(ERROR, &report);
    }
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPauseMs, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

// On a standby a backup may end on another timeline than it began on. Then the WAL from its start
// to its end is not of one timeline.
void RequireOneTimeline(const ServerBackup* backup) {
  const TimeLineID start = BackupStartTimeline(backup);
  const TimeLineID stop = BackupStopTimeline(backup);
  if (start != stop) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("the primary's timeline changed from %u to %u during the backup", start, stop),
             errhint("Take the backup again, on the new timeline.")));
  }
}

void LogSuccess(const BackupJob* job) {
  const BackupSummary& summary = job->summary;
  const double seconds =
      std::chrono::duration<double>(job->environment.clock->Steady() - job->began).count();
  ereport(LOG,
          (errmsg("backup \"%s\" completed in %.1f s: %llu files, %llu bytes, %llu bytes stored, "
                  "WAL %s to %s",
                  summary.label.c_str(), seconds, static_cast<unsigned long long>(summary.files),
                  static_cast<unsigned long long>(summary.size),
                  static_cast<unsigned long long>(summary.stored_size), summary.start_wal.c_str(),
                  summary.stop_wal.c_str())));
  if (summary.checksum_failures > 0) {
    ereport(WARNING,
            (errcode(ERRCODE_DATA_CORRUPTED),
             errmsg("backup \"%s\" holds %llu pages with wrong checksums", summary.label.c_str(),
                    static_cast<unsigned long long>(summary.checksum_failures)),
             errhint("The data directory is damaged. Find the relations by veza_backup_info(), and "
                     "keep older backups until it is repaired.")));
  }
}

// A standby may lag behind the server that made the parent, and its pages may then be older than
// those of the parent. So a backup must not begin before its parent has ended. On a standby a
// backup begins at the last restartpoint, and there may be none for as long as the primary is idle.
// What the standby itself has read before is never newer than what it reads now: then there is no
// need to wait.
void WaitForStartPoint(const char* parent, XLogRecPtr parent_stop, int timeout_s) {
  static const uint32 wait_event = WaitEvent("VezaBackupStartPoint");
  const SteadyTime deadline = SystemClock().Steady() + std::chrono::seconds(timeout_s);
  for (;;) {
    XLogRecPtr restart_point = InvalidXLogRecPtr;
    TimeLineID timeline = 0;
    RequestCheckpoint(CHECKPOINT_FORCE | CHECKPOINT_WAIT | CHECKPOINT_IMMEDIATE);
    GetOldestRestartPoint(&restart_point, &timeline);
    if (restart_point >= parent_stop || !RecoveryInProgress()) {
      return;
    }
    if (SystemClock().Steady() >= deadline) {
      ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("this standby has not reached the end of backup \"%s\" at %X/%X: "
                             "its last restartpoint is at %X/%X",
                             parent, VEZA_LSN(parent_stop), VEZA_LSN(restart_point)),
                      errhint("Wait until the standby has caught up and the primary has made a "
                              "checkpoint, or take a full backup.")));
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
}

// Starts the backup in the server.
ServerBackup* Start(BackupJob* job, bool fast) {
  SetPhase(BackupPhase::kCheckpoint);
  if (job->parent && !IsOwn(*job->parent, job->own_full, job->own_newest) && RecoveryInProgress()) {
    WaitForStartPoint(job->parent->label.c_str(), job->parent->stop_lsn.value,
                      static_cast<int>(job->config.backup_wal_timeout.count()));
  }
  register_persistent_abort_backup_handler();
  ServerBackup* const backup =
      BackupStart(psprintf("veza_backup %s", job->summary.label.c_str()), fast);
  if (BackupStartTimeline(backup) != job->timeline) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("the timeline changed from %u to %u while the backup was being started",
                           job->timeline, BackupStartTimeline(backup)),
                    errhint("Take the backup again.")));
  }
  ereport(LOG, (errmsg("%s backup \"%s\" started at %X/%X", BackupTypeName(job->summary.type),
                       job->summary.label.c_str(), VEZA_LSN(BackupStartLsn(backup)))));
  return backup;
}

void TellHowChangesAreFound(const BackupJob* job) {
  if (!job->parent) {
    return;
  }
  const char* const type = BackupTypeName(job->type);
  const char* const parent = job->parent_name.c_str();
  if (job->wal.changes) {
    ereport(LOG, (errmsg("the %s reads what WAL has changed since %s", type, parent),
                  errdetail("The index of WAL tells it for %zu segments, and WAL itself for %zu.",
                            job->wal.indexed, job->wal.read)));
    return;
  }
  ereport(LOG, (errmsg("the %s reads everything: %s", type, job->wal.doubt.c_str()),
                job->doubt.empty()
                    ? errdetail("Changes since %s are found by the LSNs of pages.", parent)
                    : errdetail("Changes are found by comparing with %s in the repository: %s.",
                                parent, job->doubt.c_str())));
}

// The state of this worker process.
MemoryContext worker_context = nullptr;
BackupJob* worker_job = nullptr;
bool worker_succeeded = false;
ErrorReport worker_error;

// Makes the copy: from the start of the backup in the server until only WAL is missing.
void MakeCopy(BackupJob* job, bool fast) {
  ErrorReport report;
  ServerBackup* const backup = Start(job, fast);
  if (!NoteStart(job, backup, &report)) {
    Raise(ERROR, &report);
  }
  PublishPosition(job);
  RunPhase(job, BackupPhase::kCopying, FindChanges);
  TellHowChangesAreFound(job);
  ServerContents contents;
  contents.databases = ReadDatabaseRows();
  contents.inventory = TakeInventory(contents.databases);
  if (!MakeWriter(job, backup, contents, &report)) {
    Raise(ERROR, &report);
  }

  job->copy = CopyState::kCopying;
  RunPhase(job, BackupPhase::kCopying, [](BackupJob* j) { return j->writer->CopyDataDirectory(); });
  RequireWholeCluster(job, contents.databases);

  SetPhase(BackupPhase::kStopping);
  auto* const last_files = static_cast<LastFiles*>(palloc0(sizeof(LastFiles)));
  last_files->control_file = ReadControlFile();
  last_files->control_file_size = PG_CONTROL_FILE_SIZE;
  last_files->mode = static_cast<std::uint32_t>(pg_file_create_mode);
  last_files->tablespace_map = pstrdup(backup->tablespace_map->data);
  last_files->backup_label = BackupLabelFile(backup);
  BackupStop(backup);
  NoteStop(job, backup);
  RequireOneTimeline(backup);

  RunPhase(job, BackupPhase::kStopping,
           [last_files](BackupJob* j) { return StoreLastFiles(j, last_files); });
  RememberOwnCopy(*job->own_copy);
}

void RunBackup(const BackupOrder& order) {
  auto* const job = NewInContext<BackupJob>();
  ErrorReport report;
  worker_job = job;

  job->began = job->environment.clock->Steady();
  job->type = order.type;
  if (order.slot_us != 0) {
    job->claim = SlotClaim{KindOf(order.type), TimePoint(std::chrono::microseconds(order.slot_us)),
                           order.attempt};
  }
  if (!PrepareJob(job, &report)) {
    Raise(ERROR, &report);
  }
  LearnAboutServer(job);
  RunPhase(job, BackupPhase::kConnecting, ConnectAndChoose);
  PublishLabel(job->summary.label.c_str(), job->type, job->notice.c_str());
  if (!job->notice.empty()) {
    ereport(LOG, (errmsg("%s", job->notice.c_str())));
  }

  if (!job->completes_copy) {
    MakeCopy(job, order.fast);
  }
  RunPhase(job, BackupPhase::kWaitingForWal, WaitForWalOf);
  RunPhase(job, BackupPhase::kWaitingForWal, RequireOwnWal);
  RunPhase(job, BackupPhase::kCommitting, Commit);
  worker_succeeded = true;
  // What builds on a backup that was only completed compares contents.
  if (!job->completes_copy && job->summary.checksum_failures == 0) {
    RememberOwnBackup(job->type, job->summary.manifest_sha256);
  }
  LogSuccess(job);

  RunPhase(job, BackupPhase::kExpiring, ExpireOld);
  if (!job->expired.empty()) {
    ereport(LOG, (errmsg("removed by retention: %s", job->expired.c_str())));
  }
}

// Called on every way out: success, ERROR, FATAL (SIGTERM) and postmaster death. First ends the job
// and its threads, and then tells the process that waits. A shutdown does not wait for a store that
// hangs.
void WorkerExit(int, Datum) {
  MemoryContextSwitchTo(TopMemoryContext);
  ReleaseLock(worker_job, worker_succeeded ? std::chrono::seconds(10) : std::chrono::seconds(1));
  MemoryContextDelete(worker_context);
  if (worker_succeeded) {
    FinishSucceeded();
  } else {
    // A backup that was cancelled or terminated is not wanted. When the store was away, what it has
    // stored is still there. The next backup must not complete it.
    if (worker_error.sqlstate == ERRCODE_QUERY_CANCELED ||
        worker_error.sqlstate == ERRCODE_ADMIN_SHUTDOWN) {
      ForgetOwnCopy();
    }
    FinishFailed(&worker_error);
    AskForLookAtKey();  // a lost key may be the reason
  }
}

// Records the failure for other nodes and for the view of the schedules, and removes what the
// backup has stored. A server that shuts down has no time for this: the slot then stays claimed by
// a process that has ended.
void TellFailure() {
  constexpr int kPatienceMs = 10'000;
  constexpr int kPauseMs = 10;
  if (worker_job == nullptr || worker_job->lock == nullptr || worker_succeeded) {
    return;
  }
  EndWriter(worker_job);
  worker_job->patience = std::chrono::seconds(2);
  const Status told = CatchExceptions([]() -> Status {
    FunctionCall call(worker_job->environment, []() -> Status {
      const bool canceled = worker_error.sqlstate == ERRCODE_QUERY_CANCELED;
      RETURN_IF_ERROR(RecordFailure(worker_job, worker_error.message, canceled));
      // It removes what it can in this time. Retention removes the rest.
      return CleanUp(worker_job, canceled);
    });
    RETURN_IF_ERROR(call.Start());
    for (int waited = 0; !call.done() && !ProcDiePending && waited < kPatienceMs;
         waited += kPauseMs) {
      pg_usleep(kPauseMs * 1000L);
    }
    return Ok();  // the destructor cancels and joins the thread
  });
  (void)told;
}

void KeepCaughtError() {
  MemoryContextSwitchTo(worker_context);
  FillReport(CopyErrorData(), &worker_error);
}

}  // namespace
}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaBackupWorkerMain(Datum main_argument) {
  using namespace veza::pg;

  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  pqsignal(SIGINT, StatementCancelHandler);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

  BackupOrder order;
  if (!TakeRequest(DatumGetUInt64(main_argument), &order)) {
    proc_exit(0);
  }
  worker_context =
      AllocSetContextCreate(TopMemoryContext, "veza_backup worker", ALLOCSET_DEFAULT_SIZES);
  FillReport("the backup worker was terminated", "The server log says why.", ERRCODE_ADMIN_SHUTDOWN,
             &worker_error);
  before_shmem_exit(WorkerExit, 0);

  MemoryContextSwitchTo(worker_context);
  PG_TRY();
  { RunBackup(order); }
  PG_CATCH();
  {
    KeepCaughtError();
    TellFailure();
    PG_RE_THROW();
  }
  PG_END_TRY();
  proc_exit(0);
}
