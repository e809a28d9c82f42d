// The worker reads as the list of what a backup is, see RunBackup(). It holds no snapshot and no
// transaction, and is connected to no database. Whatever goes wrong in it is an ERROR: the server
// ends the backup state (do_pg_abort_backup), the reason goes into shared memory and the log, and
// the worker is gone; objects already stored are garbage by definition, because backup.json is
// written last.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/repository/backup_writer.h"
#include "core/repository/tablespace_map.h"
#include "core/repository/wal_archive.h"
#include "pg/server_repository.h"
#include "pg/settings.h"
//
#include "pg/backup_worker.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared_state.h"

extern "C" {
#include <common/file_perm.h>
#include <common/relpath.h>
#include <storage/procsignal.h>
#include <tcop/tcopprot.h>
#include <utils/ps_status.h>
}

namespace veza::pg {

namespace {

constexpr RetryPolicy kBackupRetries{.budget = std::chrono::minutes(2), .max_attempts = 20};
// The archiver usually needs some 100 ms; an outage of the store may last for minutes.
constexpr std::chrono::milliseconds kFirstWalPollPause{20};
constexpr std::chrono::milliseconds kLongestWalPollPause{500};

// Sentences that threads want in the log, handed over to the main thread.
class LogQueue {
 public:
  void Put(const std::string& sentence) {
    const std::lock_guard lock(mutex_);
    sentences_.push_back(sentence);
  }
  // Copies the oldest into plain memory; false when there is none.
  bool Take(char* buffer, std::size_t size) {
    const std::lock_guard lock(mutex_);
    if (sentences_.empty()) {
      return false;
    }
    strlcpy(buffer, sentences_.front().c_str(), size);
    sentences_.pop_front();
    return true;
  }

 private:
  std::mutex mutex_;
  std::deque<std::string> sentences_;
};

// Everything a backup is made of on the C++ side. Owned by a memory context.
struct BackupJob {
  Environment environment;
  Config config;
  ServerFacts facts;
  LogQueue log;
  BackupProgress progress;
  BackupSummary summary;
  std::unique_ptr<Repository> repository;
  std::unique_ptr<BackupWriter> writer;
};

// What the main thread collects for the last files; in palloc'ed memory.
struct LastFiles {
  const char* backup_label;
  const char* tablespace_map;
  const std::uint8_t* control_file;
};

void SetPhase(BackupPhase phase) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->phase = phase;
  LWLockRelease(shared->lock);
  set_ps_display(BackupPhaseName(phase));
}

void PublishProgress(void* argument) {
  auto* const job = static_cast<BackupJob*>(argument);
  SharedState* const shared = GetSharedState();
  pg_atomic_write_u64(&shared->bytes_total, job->progress.bytes_total);
  pg_atomic_write_u64(&shared->bytes_done, job->progress.bytes_done);
  pg_atomic_write_u64(&shared->bytes_stored, job->progress.bytes_stored);
  char sentence[1024];
  while (job->log.Take(sentence, sizeof sentence)) {
    ereport(WARNING, (errmsg("%s", sentence)));
  }
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
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

// --- The phases' work, in threads ----------------------------------------------------------------

Status ChooseLabel(BackupJob* job) {
  for (;;) {
    job->summary.start_time = job->environment.clock->Now();
    job->summary.label = FullLabel(job->summary.start_time);
    Status unused = BackupWriter::RequireUnusedLabel(*job->repository, job->summary.label);
    if (unused || unused.error().code != ErrorCode::kAlreadyExists) {
      return unused;
    }
    // Another backup began in this very second.
    if (!job->environment.clock->Sleep(std::chrono::seconds(1),
                                       job->environment.cancellation.get())) {
      return job->environment.cancellation->Check();
    }
  }
}

Status Connect(BackupJob* job) {
  ASSIGN_OR_RETURN(job->repository,
                   OpenServerRepository(job->config, job->facts, job->environment, kBackupRetries));
  return ChooseLabel(job);
}

Status StoreLastFiles(BackupJob* job, const LastFiles* files, std::uint32_t mode) {
  RETURN_IF_ERROR(job->writer->AddFile("backup_label", mode, AsBytes(files->backup_label)));
  if (files->tablespace_map[0] != '\0') {
    RETURN_IF_ERROR(job->writer->AddFile("tablespace_map", mode, AsBytes(files->tablespace_map)));
  }
  RETURN_IF_ERROR(
      job->writer->AddFile("global/pg_control", mode, {files->control_file, PG_CONTROL_FILE_SIZE}));
  return job->writer->FinishPacks(job->summary);
}

// The archiver ships the segments; a backup without them would be worthless.
Status WaitForWal(BackupJob* job) {
  const BackupSummary& summary = job->summary;
  const WalArchive archive(*job->repository, summary.system_identifier);
  const SegmentNumber first = SegmentOf(summary.start_lsn, summary.wal_segment_size);
  const SegmentNumber last = SegmentBefore(summary.stop_lsn, summary.wal_segment_size);
  const SteadyTime deadline = job->environment.clock->Steady() + job->config.backup_wal_timeout;
  for (auto pause = kFirstWalPollPause;; pause = std::min(pause * 3 / 2, kLongestWalPollPause)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                     archive.Missing(summary.timeline, first, last, summary.wal_segment_size, 1));
    if (missing.empty()) {
      return Ok();
    }
    if (job->environment.clock->Steady() >= deadline) {
      return MakeError(
                 ErrorCode::kDeadlineExceeded,
                 "WAL segment \"{}\", which backup \"{}\" needs, did not reach the repository "
                 "within {} s",
                 missing.front(), summary.label, job->config.backup_wal_timeout.count())
          .WithHint(
              "Look for warnings of the archiver in the server log, or raise "
              "veza_backup.backup_wal_timeout.");
    }
    if (!job->environment.clock->Sleep(pause, job->environment.cancellation.get())) {
      return job->environment.cancellation->Check();
    }
  }
}

// --- The main thread's part ----------------------------------------------------------------------

// Settings and facts of now into the job. Plain memory in and out, so that it may fail.
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
    return Ok();
  });
  if (!status) {
    FillReport(status.error(), report);
  }
  return status.has_value();
}

void PublishLabel(const BackupJob* job) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  strlcpy(shared->label, job->summary.label.c_str(), sizeof shared->label);
  LWLockRelease(shared->lock);
}

bool MakeWriter(BackupJob* job, const ServerBackup* backup, ErrorReport* report) {
  const Status status = CatchExceptions([&]() -> Status {
    BackupSummary& summary = job->summary;
    summary.timeline = BackupStartTimeline(backup);
    summary.start_lsn = Lsn{BackupStartLsn(backup)};
    summary.start_wal =
        SegmentName(summary.timeline, SegmentOf(summary.start_lsn, summary.wal_segment_size),
                    summary.wal_segment_size);
    summary.backup_label = BackupLabelFile(backup);
    if (job->repository->seal_policy().key) {
      summary.key_id = job->repository->seal_policy().key->hex_id();
    }
    BackupWriterOptions options;
    options.walk.data_directory = job->facts.data_directory;
    ASSIGN_OR_RETURN(options.walk.tablespaces, ParseTablespaceMap(backup->tablespace_map->data));
    options.walk.postgres_major = PG_VERSION_NUM / 10000;
    options.walk.tablespace_version_directory = TABLESPACE_VERSION_DIRECTORY;
    options.label = summary.label;
    options.start_lsn = summary.start_lsn;
    options.block_size = BLCKSZ;
    options.segment_blocks = RELSEG_SIZE;
    options.verify_checksums = summary.data_checksum_version != 0;
    options.jobs = job->config.jobs;
    options.uploads = job->config.s3_connections;
    options.warn = [job](const std::string& sentence) { job->log.Put(sentence); };
    job->writer =
        std::make_unique<BackupWriter>(*job->repository, std::move(options), job->progress);
    return Ok();
  });
  if (!status) {
    FillReport(status.error(), report);
  }
  return status.has_value();
}

void NoteStop(BackupJob* job, const ServerBackup* backup) {
  BackupSummary& summary = job->summary;
  summary.stop_lsn = Lsn{BackupStopLsn(backup)};
  summary.stop_time = job->environment.clock->Now();
  summary.stop_wal =
      SegmentName(summary.timeline, SegmentBefore(summary.stop_lsn, summary.wal_segment_size),
                  summary.wal_segment_size);
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

void LogSuccess(const BackupJob* job) {
  const BackupSummary& summary = job->summary;
  const double seconds =
      std::chrono::duration<double>(job->environment.clock->Now() - summary.start_time).count();
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

void RunBackup(bool fast) {
  auto* const job = NewInContext<BackupJob>();
  ErrorReport report;

  if (!PrepareJob(job, &report)) {
    Raise(ERROR, &report);
  }
  RunPhase(job, BackupPhase::kConnecting, Connect);
  PublishLabel(job);

  SetPhase(BackupPhase::kCheckpoint);
  register_persistent_abort_backup_handler();
  ServerBackup* const backup =
      BackupStart(psprintf("veza_backup %s", job->summary.label.c_str()), fast);
  if (!MakeWriter(job, backup, &report)) {
    Raise(ERROR, &report);
  }
  ereport(LOG, (errmsg("backup \"%s\" started at %X/%X", job->summary.label.c_str(),
                       static_cast<uint32>(BackupStartLsn(backup) >> 32),
                       static_cast<uint32>(BackupStartLsn(backup)))));

  RunPhase(job, BackupPhase::kCopying, [](BackupJob* j) { return j->writer->CopyDataDirectory(); });

  SetPhase(BackupPhase::kStopping);
  auto* const last_files = static_cast<LastFiles*>(palloc0(sizeof(LastFiles)));
  last_files->control_file = ReadControlFile();
  last_files->tablespace_map = pstrdup(backup->tablespace_map->data);
  last_files->backup_label = BackupLabelFile(backup);
  BackupStop(backup);
  NoteStop(job, backup);

  const auto mode = static_cast<std::uint32_t>(pg_file_create_mode);
  RunPhase(job, BackupPhase::kStopping,
           [last_files, mode](BackupJob* j) { return StoreLastFiles(j, last_files, mode); });
  RunPhase(job, BackupPhase::kWaitingForWal, WaitForWal);
  RunPhase(job, BackupPhase::kCommitting,
           [](BackupJob* j) { return j->writer->Commit(j->summary); });
  LogSuccess(job);
}

// --- The slot in shared memory -------------------------------------------------------------------

void Finish(BackupPhase phase, const ErrorReport* report) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->phase = phase;
  shared->worker_pid = 0;
  if (report != nullptr) {
    shared->error = *report;
  }
  LWLockRelease(shared->lock);
}

// What this worker process is about; set once in VezaBackupWorkerMain.
MemoryContext worker_context = nullptr;
bool worker_succeeded = false;
ErrorReport worker_error;

// Every way out comes by here: success, ERROR, FATAL (SIGTERM) and postmaster death. The job with
// its threads goes first, then whoever waits is told.
void WorkerExit(int, Datum) {
  MemoryContextSwitchTo(TopMemoryContext);
  MemoryContextDelete(worker_context);
  if (worker_succeeded) {
    Finish(BackupPhase::kSucceeded, nullptr);
  } else {
    Finish(BackupPhase::kFailed, &worker_error);
  }
}

// True: the request is still waited for, and is ours now.
bool TakeRequest(std::uint64_t request_id, bool* fast) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  const bool taken = shared->request_id == request_id && shared->phase == BackupPhase::kStarting;
  if (taken) {
    shared->worker_pid = MyProcPid;
    *fast = shared->fast;
  }
  LWLockRelease(shared->lock);
  return taken;
}

void KeepCaughtError() {
  MemoryContextSwitchTo(worker_context);
  ErrorData* const data = CopyErrorData();
  FillReport(data->message != nullptr ? data->message : "unknown error",
             data->hint != nullptr ? data->hint : "", data->sqlerrcode, &worker_error);
}

// --- The requester's side ------------------------------------------------------------------------

// A copy of what the requester looks at.
struct SlotView {
  bool is_ours;
  BackupPhase phase;
  pid_t worker_pid;
  char label[kLabelLength];
  ErrorReport error;
};

SlotView ReadSlot(std::uint64_t request_id) {
  SharedState* const shared = GetSharedState();
  SlotView view;
  LWLockAcquire(shared->lock, LW_SHARED);
  view.is_ours = shared->request_id == request_id;
  view.phase = shared->phase;
  view.worker_pid = shared->worker_pid;
  strlcpy(view.label, shared->label, sizeof view.label);
  view.error = shared->error;
  LWLockRelease(shared->lock);
  return view;
}

void CancelRequest(const BackupRequest& request) {
  SharedState* const shared = GetSharedState();
  pid_t worker_pid = 0;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (shared->request_id == request.id && IsRunning(shared->phase)) {
    worker_pid = shared->worker_pid;
    if (worker_pid == 0) {
      // It has not come up; if it still does, it finds that nobody waits.
      shared->phase = BackupPhase::kFailed;
      FillReport("the backup was canceled before it began", "", ERRCODE_QUERY_CANCELED,
                 &shared->error);
    }
  }
  LWLockRelease(shared->lock);
  if (worker_pid != 0) {
    kill(worker_pid, SIGINT);
  }
}

[[noreturn]] void RaiseAlreadyRunning(pid_t worker_pid, const char* label) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a backup is already running"),
                  errdetail("Backup \"%s\" is being made by process %d.", label,
                            static_cast<int>(worker_pid)),
                  errhint("Wait until it has ended, or end it with pg_cancel_backend(%d).",
                          static_cast<int>(worker_pid))));
  pg_unreachable();
}

std::uint64_t ClaimSlot(SharedState* shared, bool fast) {
  char label[kLabelLength];
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  const bool busy = IsRunning(shared->phase);
  const pid_t worker_pid = shared->worker_pid;
  strlcpy(label, shared->label, sizeof label);
  if (!busy) {
    ++shared->request_id;
    shared->phase = BackupPhase::kStarting;
    shared->fast = fast;
    shared->worker_pid = 0;
    shared->label[0] = '\0';
    shared->started_at = GetCurrentTimestamp();
    pg_atomic_write_u64(&shared->bytes_total, 0);
    pg_atomic_write_u64(&shared->bytes_done, 0);
    pg_atomic_write_u64(&shared->bytes_stored, 0);
  }
  const std::uint64_t request_id = shared->request_id;
  LWLockRelease(shared->lock);
  if (busy) {
    RaiseAlreadyRunning(worker_pid, label);
  }
  return request_id;
}

}  // namespace

BackupRequest StartBackupWorker(bool fast) {
  SharedState* const shared = RequireSharedState();
  BackupRequest request{ClaimSlot(shared, fast), nullptr};

  BackgroundWorker worker;
  memset(&worker, 0, sizeof worker);
  // The connection is to no database. It makes the worker a backend that pg_stat_activity shows and
  // pg_cancel_backend() finds.
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "veza_backup", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "VezaBackupWorkerMain", sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, "veza_backup full backup", sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, "veza_backup worker", sizeof worker.bgw_type);
  worker.bgw_main_arg = UInt64GetDatum(request.id);
  worker.bgw_notify_pid = MyProcPid;
  if (!RegisterDynamicBackgroundWorker(&worker, &request.handle)) {
    CancelRequest(request);
    ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                    errmsg("could not start the backup worker: no background worker slot is free"),
                    errhint("Raise max_worker_processes and restart the server.")));
  }
  return request;
}

char* WaitForBackup(const BackupRequest& request, bool until_done) {
  static const uint32 wait_event = WaitEvent("VezaBackupNow");
  SlotView view;
  for (;;) {
    view = ReadSlot(request.id);
    if (!view.is_ours || !IsRunning(view.phase) || (!until_done && view.label[0] != '\0')) {
      break;
    }
    pid_t pid = 0;
    if (GetBackgroundWorkerPid(request.handle, &pid) == BGWH_STOPPED) {
      view = ReadSlot(request.id);
      if (view.is_ours && IsRunning(view.phase)) {
        CancelRequest(request);
        ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                        errmsg("the backup worker has ended without a result"),
                        errhint("The server log says more.")));
      }
      continue;
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 200, wait_event);
    ResetLatch(MyLatch);
    PG_TRY();
    { CHECK_FOR_INTERRUPTS(); }
    PG_CATCH();
    {
      CancelRequest(request);
      PG_RE_THROW();
    }
    PG_END_TRY();
  }
  if (!view.is_ours) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                    errmsg("another backup has begun since, the result of this one is in "
                           "veza_backup_info()")));
  }
  if (view.phase == BackupPhase::kFailed) {
    Raise(ERROR, &view.error);
  }
  return pstrdup(view.label);
}

}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaBackupWorkerMain(Datum main_argument) {
  using namespace veza::pg;

  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, die);
  pqsignal(SIGINT, StatementCancelHandler);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);

  bool fast = false;
  if (!TakeRequest(DatumGetUInt64(main_argument), &fast)) {
    proc_exit(0);
  }
  worker_context =
      AllocSetContextCreate(TopMemoryContext, "veza_backup worker", ALLOCSET_DEFAULT_SIZES);
  FillReport("the backup worker was terminated", "The server log says why.", ERRCODE_ADMIN_SHUTDOWN,
             &worker_error);
  before_shmem_exit(WorkerExit, 0);

  MemoryContextSwitchTo(worker_context);
  PG_TRY();
  { RunBackup(fast); }
  PG_CATCH();
  {
    KeepCaughtError();
    PG_RE_THROW();
  }
  PG_END_TRY();
  worker_succeeded = true;
  proc_exit(0);
}
