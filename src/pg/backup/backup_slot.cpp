#include "pg/backup/backup_slot.h"

#include <csignal>

#include "pg/compat.h"
#include "pg/worker_description.h"

extern "C" {
#include <utils/ps_status.h>
}

namespace veza::pg {

namespace {

// A copy of what the requester looks at.
struct SlotView {
  bool is_ours;
  BackupPhase phase;
  char label[kLabelLength];
  char notice[sizeof SharedState::notice];
  ErrorReport error;
};

SlotView ReadSlot(std::uint64_t request_id) {
  SharedState* const shared = GetSharedState();
  SlotView view;
  LWLockAcquire(shared->lock, LW_SHARED);
  view.is_ours = shared->request_id == request_id;
  view.phase = shared->phase;
  strlcpy(view.label, shared->label, sizeof view.label);
  strlcpy(view.notice, shared->notice, sizeof view.notice);
  view.error = shared->error;
  LWLockRelease(shared->lock);
  return view;
}

// The caller holds the lock. `label` may be empty.
void NoteFailure(SharedState* shared, bool diff, const char* label, const ErrorReport* report) {
  shared->last_failure.at = GetCurrentTimestamp();
  shared->last_failure.diff = diff;
  shared->last_failure.error = *report;
  strlcpy(shared->last_failure.label, label, kLabelLength);
}

// The caller holds the lock. The worker to be told, 0 when there is none yet.
pid_t CancelLocked(SharedState* shared) {
  if (shared->worker_pid == 0) {
    // It has not come up; if it still does, it finds that nobody waits.
    shared->phase = BackupPhase::kFailed;
    FillReport("the backup was canceled before it began", "", ERRCODE_QUERY_CANCELED,
               &shared->error);
  }
  return shared->worker_pid;
}

void Interrupt(pid_t worker_pid) {
  if (worker_pid != 0) {
    kill(worker_pid, SIGINT);
  }
}

void CancelRequest(const BackupRequest& request) {
  SharedState* const shared = GetSharedState();
  pid_t worker_pid = 0;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  if (shared->request_id == request.id && IsRunning(shared->phase)) {
    worker_pid = CancelLocked(shared);
  }
  LWLockRelease(shared->lock);
  Interrupt(worker_pid);
}

bool HasStopped(const BackupRequest& request) {
  pid_t pid = 0;
  return GetBackgroundWorkerPid(request.handle, &pid) == BGWH_STOPPED;
}

void FillNoResult(ErrorReport* report) {
  FillReport("the backup worker has ended without a result", "The server log says more.",
             ERRCODE_INTERNAL_ERROR, report);
}

// Tells the caller what the worker has to say, once.
void TellNotice(const SlotView* view, char* told) {
  if (view->is_ours && strcmp(view->notice, told) != 0) {
    strlcpy(told, view->notice, sizeof view->notice);
    if (told[0] != '\0') {
      ereport(NOTICE, (errmsg("%s", told)));
    }
  }
}

// The backup that holds the slot, for who wanted it.
struct Holder {
  bool diff;
  pid_t worker_pid;
  char label[kLabelLength];
};

const char* Describe(const Holder& holder) {
  if (holder.label[0] != '\0') {
    return psprintf("Backup \"%s\" is being made by process %d.", holder.label,
                    static_cast<int>(holder.worker_pid));
  }
  return psprintf("A %s backup is being started and has no label yet.",
                  holder.diff ? "diff" : "full");
}

[[noreturn]] void RaiseAlreadyRunning(const Holder& holder) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a backup is already running"),
                  errdetail("%s", Describe(holder)),
                  errhint("Wait until it has ended, as CALL veza_backup_take(..., wait_for_running "
                          "=> true) does, or end it with veza_backup_cancel().")));
  pg_unreachable();
}

// False: `holder` has it.
bool ClaimSlot(SharedState* shared, const BackupOrder& order, std::uint64_t* request_id,
               Holder* holder) {
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  const bool busy = IsRunning(shared->phase);
  holder->diff = shared->diff;
  holder->worker_pid = shared->worker_pid;
  strlcpy(holder->label, shared->label, sizeof holder->label);
  if (!busy) {
    ++shared->request_id;
    shared->phase = BackupPhase::kStarting;
    shared->diff = order.diff;
    shared->fast = order.fast;
    shared->slot_us = order.slot_us;
    shared->attempt = order.attempt;
    shared->worker_pid = 0;
    shared->label[0] = '\0';
    shared->notice[0] = '\0';
    shared->started_at = GetCurrentTimestamp();
    shared->copying_since = 0;
    ResetProgress(&shared->progress);
  }
  *request_id = shared->request_id;
  LWLockRelease(shared->lock);
  return !busy;
}

// Who is interrupted while it waits here has no backup yet, and leaves the one that runs alone.
std::uint64_t ClaimSlotOrWait(SharedState* shared, const BackupOrder& order) {
  static const uint32 wait_event = WaitEvent("VezaBackupSlot");
  std::uint64_t request_id = 0;
  Holder holder;
  while (!ClaimSlot(shared, order, &request_id, &holder)) {
    if (!order.wait_for_running) {
      RaiseAlreadyRunning(holder);
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 200, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return request_id;
}

// --- Who waits is interrupted --------------------------------------------------------------------

// A standby ends whatever is in the way of recovery: that says nothing about the backup.
bool IsRecoveryConflict(int sqlstate) {
  return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK ||
         sqlstate == ERRCODE_DATABASE_DROPPED;
}

struct Interruption {
  const BackupRequest* request;
  int sqlstate;  // why; 0: not yet
};

// While an error is being made, also a FATAL one.
void NoteReason(void* argument) {
  auto* const interruption = static_cast<Interruption*>(argument);
  interruption->sqlstate = geterrcode();
  if (IsRecoveryConflict(interruption->sqlstate)) {
    errcontext("waiting for a backup, which goes on: veza_backup_progress shows it");
  }
}

// On ERROR and on FATAL: Ctrl-C, pg_cancel_backend(), a timeout, pg_terminate_backend(), a client
// that has gone.
void CancelForInterruption(int, Datum argument) {
  const auto* const interruption = reinterpret_cast<Interruption*>(DatumGetPointer(argument));
  if (!IsRecoveryConflict(interruption->sqlstate)) {
    CancelRequest(*interruption->request);
  }
}

void ServeInterrupts(const BackupRequest& request) {
  Interruption interruption{&request, 0};
  ErrorContextCallback context{error_context_stack, NoteReason, &interruption};
  PG_ENSURE_ERROR_CLEANUP(CancelForInterruption, PointerGetDatum(&interruption));
  {
    error_context_stack = &context;
    CHECK_FOR_INTERRUPTS();
    error_context_stack = context.previous;
  }
  PG_END_ENSURE_ERROR_CLEANUP(CancelForInterruption, PointerGetDatum(&interruption));
}

}  // namespace

BackupRequest StartBackupWorker(const BackupOrder& order) {
  SharedState* const shared = RequireSharedState();
  BackupRequest request{ClaimSlotOrWait(shared, order), nullptr};

  BackgroundWorker worker = DescribeWorker(
      "VezaBackupWorkerMain", order.diff ? "veza_backup diff backup" : "veza_backup full backup",
      "veza_backup worker");
  // The connection is to no database. It makes the worker a backend that pg_stat_activity shows and
  // pg_cancel_backend() finds.
  worker.bgw_flags |= BGWORKER_BACKEND_DATABASE_CONNECTION;
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
  char told[sizeof view.notice] = "";
  for (;;) {
    view = ReadSlot(request.id);
    TellNotice(&view, told);
    if (!view.is_ours || !IsRunning(view.phase) || (!until_done && view.label[0] != '\0')) {
      break;
    }
    if (HasStopped(request)) {
      view = ReadSlot(request.id);
      if (view.is_ours && IsRunning(view.phase)) {
        CancelRequest(request);
        FillNoResult(&view.error);
        Raise(ERROR, &view.error);
      }
      continue;
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 200, wait_event);
    ResetLatch(MyLatch);
    ServeInterrupts(request);
  }
  if (!view.is_ours) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                    errmsg("another backup has begun since, the result of this one is in "
                           "veza_backup_info()")));
  }
  TellNotice(&view, told);
  if (view.phase == BackupPhase::kFailed) {
    Raise(ERROR, &view.error);
  }
  return pstrdup(view.label);
}

BackupOutcome LookAtBackup(const BackupRequest& request) {
  const bool stopped = HasStopped(request);
  const SlotView view = ReadSlot(request.id);
  BackupOutcome outcome;
  outcome.ended = !view.is_ours || !IsRunning(view.phase) || stopped;
  outcome.succeeded = view.is_ours && view.phase == BackupPhase::kSucceeded;
  outcome.error = view.error;
  if (!view.is_ours || IsRunning(view.phase)) {
    FillNoResult(&outcome.error);
    if (stopped) {
      CancelRequest(request);
    }
  }
  return outcome;
}

bool CancelRunningBackup() {
  SharedState* const shared = RequireSharedState();
  pid_t worker_pid = 0;
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  const bool runs = IsRunning(shared->phase);
  if (runs) {
    worker_pid = CancelLocked(shared);
  }
  LWLockRelease(shared->lock);
  Interrupt(worker_pid);
  return runs;
}

bool TakeRequest(std::uint64_t request_id, BackupOrder* order) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  const bool taken = shared->request_id == request_id && shared->phase == BackupPhase::kStarting;
  if (taken) {
    shared->worker_pid = MyProcPid;
    order->diff = shared->diff;
    order->fast = shared->fast;
    order->slot_us = shared->slot_us;
    order->attempt = shared->attempt;
  }
  LWLockRelease(shared->lock);
  return taken;
}

void SetPhase(BackupPhase phase) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->phase = phase;
  if (phase == BackupPhase::kCopying) {
    shared->copying_since = GetCurrentTimestamp();
  }
  LWLockRelease(shared->lock);
  set_ps_display(BackupPhaseName(phase));
}

void PublishLabel(const char* label, bool diff, const char* notice) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->diff = diff;
  strlcpy(shared->notice, notice, sizeof shared->notice);
  strlcpy(shared->label, label, sizeof shared->label);
  // One that failed within this second, and left nothing, had the same.
  if (strcmp(shared->last_failure.label, label) == 0) {
    shared->last_failure.label[0] = '\0';
  }
  LWLockRelease(shared->lock);
}

void PublishNotice(const char* notice) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  strlcpy(shared->notice, notice, sizeof shared->notice);
  LWLockRelease(shared->lock);
}

void FinishSucceeded() {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->phase = BackupPhase::kSucceeded;
  shared->worker_pid = 0;
  shared->last_failure.at = 0;
  LWLockRelease(shared->lock);
}

void FinishFailed(const ErrorReport* report) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  shared->phase = BackupPhase::kFailed;
  shared->worker_pid = 0;
  shared->error = *report;
  NoteFailure(shared, shared->diff, shared->label, report);
  LWLockRelease(shared->lock);
}

void RecordFailedStart(const BackupOrder& order, const ErrorReport* report) {
  SharedState* const shared = GetSharedState();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  NoteFailure(shared, order.diff, "", report);
  LWLockRelease(shared->lock);
}

}  // namespace veza::pg
