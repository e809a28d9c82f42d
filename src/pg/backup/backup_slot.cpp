#include "pg/backup/backup_slot.h"

#include <csignal>

#include "pg/compat.h"
#include "pg/shared/shared_memory.h"
#include "pg/shared/shared_state.h"
#include "pg/worker_description.h"

extern "C" {
#include <utils/ps_status.h>
}

namespace veza::pg {

namespace {

// Calls `change` with the slot in shared memory, under the lock.
template <typename Change>
void UpdateSlot(Change change) {
  UpdatePart<&SharedState::backup>(change);
}

// A copy of what the requester needs.
struct SlotView {
  bool is_ours;
  BackupPhase phase;
  char label[kLabelLength];
  char notice[sizeof SharedBackup::notice];
  ErrorReport error;
};

SlotView ReadSlot(std::uint64_t request_id) {
  const SharedBackup backup = ReadSharedBackup();
  SlotView view;
  view.is_ours = backup.request_id == request_id;
  view.phase = backup.phase;
  strlcpy(view.label, backup.label, sizeof view.label);
  strlcpy(view.notice, backup.notice, sizeof view.notice);
  view.error = backup.error;
  return view;
}

// The caller holds the lock. `label` may be empty.
void NoteFailure(SharedBackup& slot, BackupType type, const char* label,
                 const ErrorReport* report) {
  slot.last_failure.at = GetCurrentTimestamp();
  slot.last_failure.type = type;
  slot.last_failure.error = *report;
  strlcpy(slot.last_failure.label, label, kLabelLength);
}

// The caller holds the lock. Returns the worker that must be interrupted, 0 when there is none yet.
pid_t CancelLocked(SharedBackup& slot) {
  if (slot.worker_pid == 0) {
    // The worker has not started yet. If it still does, it finds that nobody waits.
    slot.phase = BackupPhase::kFailed;
    FillReport("the backup was canceled before it began", "", ERRCODE_QUERY_CANCELED, &slot.error);
  }
  return slot.worker_pid;
}

void Interrupt(pid_t worker_pid) {
  if (worker_pid != 0) {
    kill(worker_pid, SIGINT);
  }
}

void CancelRequest(const BackupRequest& request) {
  pid_t worker_pid = 0;
  UpdateSlot([&](SharedBackup& slot) {
    if (slot.request_id == request.id && IsRunning(slot.phase)) {
      worker_pid = CancelLocked(slot);
    }
  });
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

// Sends the worker's notice to the client, once.
void TellNotice(const SlotView* view, char* told) {
  if (view->is_ours && strcmp(view->notice, told) != 0) {
    strlcpy(told, view->notice, sizeof view->notice);
    if (told[0] != '\0') {
      ereport(NOTICE, (errmsg("%s", told)));
    }
  }
}

// The backup that holds the slot, for the message to a process that wants the slot.
struct Holder {
  BackupType type;
  pid_t worker_pid;
  char label[kLabelLength];
};

const char* Describe(const Holder& holder) {
  if (holder.label[0] != '\0') {
    return psprintf("Backup \"%s\" is being made by process %d.", holder.label,
                    static_cast<int>(holder.worker_pid));
  }
  return psprintf("The %s backup that is being started has no label yet.",
                  BackupTypeName(holder.type));
}

[[noreturn]] void RaiseAlreadyRunning(const Holder& holder) {
  ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("a backup is already running"),
                  errdetail("%s", Describe(holder)),
                  errhint("Wait until it has ended, as CALL veza_backup_take(..., wait_for_running "
                          "=> true) does, or end it with veza_backup_cancel().")));
  pg_unreachable();
}

// False when `holder` has the slot.
bool ClaimSlot(const BackupOrder& order, std::uint64_t* request_id, Holder* holder) {
  bool busy = false;
  UpdateSlot([&](SharedBackup& slot) {
    busy = IsRunning(slot.phase);
    holder->type = slot.type;
    holder->worker_pid = slot.worker_pid;
    strlcpy(holder->label, slot.label, sizeof holder->label);
    if (!busy) {
      ++slot.request_id;
      slot.phase = BackupPhase::kStarting;
      slot.type = order.type;
      slot.fast = order.fast;
      slot.slot_us = order.slot_us;
      slot.attempt = order.attempt;
      slot.worker_pid = 0;
      slot.label[0] = '\0';
      slot.notice[0] = '\0';
      slot.started_at = GetCurrentTimestamp();
      slot.copying_since_us = 0;
      ResetProgress(GetSharedProgress());
    }
    *request_id = slot.request_id;
  });
  return !busy;
}

// A process that is interrupted while it waits here has no backup yet. The one that runs goes on.
std::uint64_t ClaimSlotOrWait(const BackupOrder& order) {
  static const uint32 wait_event = WaitEvent("VezaBackupSlot");
  std::uint64_t request_id = 0;
  Holder holder;
  while (!ClaimSlot(order, &request_id, &holder)) {
    if (!order.wait_for_running) {
      RaiseAlreadyRunning(holder);
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 200, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return request_id;
}

// --- Interrupted while waiting -------------------------------------------------------------------

// A standby cancels what is in the way of recovery. Nobody wants to cancel the backup then.
bool IsRecoveryConflict(int sqlstate) {
  return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK ||
         sqlstate == ERRCODE_DATABASE_DROPPED;
}

struct Interruption {
  const BackupRequest* request;
  int sqlstate;  // the reason; 0 when there was no interruption
};

// Called while an ERROR or FATAL is reported.
void NoteReason(void* argument) {
  auto* const interruption = static_cast<Interruption*>(argument);
  interruption->sqlstate = geterrcode();
  if (IsRecoveryConflict(interruption->sqlstate)) {
    errcontext("waiting for a backup, which goes on: veza_backup_progress shows it");
  }
}

// Called on ERROR and FATAL: Ctrl-C, pg_cancel_backend(), a timeout, pg_terminate_backend(), or a
// client that has gone.
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
  RequireSharedMemory();
  BackupRequest request{ClaimSlotOrWait(order), nullptr};

  BackgroundWorker worker = DescribeWorker(
      "VezaBackupWorkerMain", psprintf("veza_backup %s backup", BackupTypeName(order.type)),
      "veza_backup worker");
  // The worker connects to no database. The flag makes it a backend that pg_stat_activity shows and
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
                    errmsg("another backup has begun since then; veza_backup_info() has the "
                           "result of this one")));
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
  RequireSharedMemory();
  bool runs = false;
  pid_t worker_pid = 0;
  UpdateSlot([&](SharedBackup& slot) {
    runs = IsRunning(slot.phase);
    if (runs) {
      worker_pid = CancelLocked(slot);
    }
  });
  Interrupt(worker_pid);
  return runs;
}

bool TakeRequest(std::uint64_t request_id, BackupOrder* order) {
  bool taken = false;
  UpdateSlot([&](SharedBackup& slot) {
    taken = slot.request_id == request_id && slot.phase == BackupPhase::kStarting;
    if (taken) {
      slot.worker_pid = MyProcPid;
      order->type = slot.type;
      order->fast = slot.fast;
      order->slot_us = slot.slot_us;
      order->attempt = slot.attempt;
    }
  });
  return taken;
}

void SetPhase(BackupPhase phase) {
  UpdateSlot([=](SharedBackup& slot) {
    slot.phase = phase;
    if (phase == BackupPhase::kCopying) {
      slot.copying_since_us = SteadyMicroseconds();
    }
  });
  set_ps_display(BackupPhaseName(phase));
}

void PublishLabel(const char* label, BackupType type, const char* notice) {
  UpdateSlot([=](SharedBackup& slot) {
    slot.type = type;
    strlcpy(slot.notice, notice, sizeof slot.notice);
    strlcpy(slot.label, label, sizeof slot.label);
    // A backup that failed within this second, and left nothing behind, had the same label.
    if (strcmp(slot.last_failure.label, label) == 0) {
      slot.last_failure.label[0] = '\0';
    }
  });
}

void PublishNotice(const char* notice) {
  UpdateSlot([=](SharedBackup& slot) { strlcpy(slot.notice, notice, sizeof slot.notice); });
}

void FinishSucceeded() {
  UpdateSlot([](SharedBackup& slot) {
    slot.phase = BackupPhase::kSucceeded;
    slot.worker_pid = 0;
    slot.last_failure.at = 0;
  });
}

void FinishFailed(const ErrorReport* report) {
  UpdateSlot([=](SharedBackup& slot) {
    slot.phase = BackupPhase::kFailed;
    slot.worker_pid = 0;
    slot.error = *report;
    NoteFailure(slot, slot.type, slot.label, report);
  });
}

void RecordFailedStart(const BackupOrder& order, const ErrorReport* report) {
  UpdateSlot([&](SharedBackup& slot) { NoteFailure(slot, order.type, "", report); });
}

}  // namespace veza::pg
