// The scheduler sleeps on its latch until something is due. core/schedule/planner.h decides what is
// to be done. This file has the waiting, the store and the backup worker.
//
// Decisions are made on the records as last read. Only when something seems to be due are the
// records read again and the decision repeated. So a night without a due slot costs no request. The
// backup worker claims the slot under the cluster lock. When another node was faster, it says so
// and nothing is lost.
//
// Calls of core run in a thread (boundary.h). A shutdown does not wait for them, because exiting
// cancels them. No C++ object with a destructor is alive where PostgreSQL may raise. An ERROR ends
// the process with exit code 1, and the postmaster restarts it after a few seconds.

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/monitor/security_check.h"
#include "core/repository/slot_claim.h"
#include "pg/server_repository.h"
#include "pg/settings.h"
//
#include "pg/archive/archive_survey_watch.h"
#include "pg/archive/archive_watch.h"
#include "pg/archive/archiving.h"
#include "pg/archive/index_watch.h"
#include "pg/archive/streamed_wal.h"
#include "pg/archive/wal_need_watch.h"
#include "pg/backup/backup_slot.h"
#include "pg/backup/empty_databases.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/schedule/key_watch.h"
#include "pg/schedule/known_schedules.h"
#include "pg/schedule/metrics_file.h"
#include "pg/schedule/recovery_settings.h"
#include "pg/schedule/scheduled_commands.h"
#include "pg/schedule/scheduler.h"
#include "pg/schedule/scheduler_state.h"
#include "pg/worker_description.h"

extern "C" {
#include <replication/walsender.h>
#include <replication/walsender_private.h>
#include <storage/procsignal.h>
}

namespace veza::pg {

namespace {

constexpr RetryPolicy kSchedulerRetries{.budget = std::chrono::seconds(20), .max_attempts = 5};
constexpr long kTickMs = 200;
constexpr long kNapAfterStartMs = 1000;
constexpr long kNapWithoutKeysMs = 2000;
constexpr int kRestartSeconds = 10;
// The most looks in one round: a decision on fresh records, a baseline, and a decision on that.
constexpr int kMaxLooks = 3;

// The state of the process, in TopMemoryContext.
SchedulerState* scheduler = nullptr;
BackupRequest running_request;
bool backup_is_ours = false;  // the running backup was started by this process

// Records the baselines, then reads the records and the lock.
class LookCall final : public BackgroundCall {
 public:
  ~LookCall() override { StopAndJoin(); }

  void Prepare(const Config& config, const ServerFacts& facts,
               std::vector<ScheduleKind> baselines) {
    config_ = config;
    facts_ = facts;
    baselines_ = std::move(baselines);
  }
  const LockState& state() const { return state_; }

 private:
  // Never initialises a repository. The archiver, the first backup and veza_backup_init() do that.
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kSchedulerRetries));
    if (!baselines_.empty()) {
      RETURN_IF_ERROR(RecordBaselines(*repository, baselines_));
    }
    ASSIGN_OR_RETURN(state_, ReadLockState(*repository));
    return Ok();
  }

  Config config_;
  ServerFacts facts_;
  std::vector<ScheduleKind> baselines_;
  LockState state_;
};

// --- Settings ------------------------------------------------------------------------------------

// Only a warning: a start or a reload of the server must not fail because of it.
void WarnOfOpenSecrets() {
  SecretSources sources;
  ReadSecretSources(&sources);
  for (int i = 0; i < sources.count; ++i) {
    const SecretSource& source = sources.of[i];
    char others[NAMEDATALEN * 2] = "";  // no C++ object may be alive over ereport()
    ErrorReport ignored;
    (void)Failed(CatchExceptions([&]() -> Status {
                   strlcpy(others, OtherReaders(source.file).value_or("").c_str(), sizeof others);
                   return Ok();
                 }),
                 &ignored);
    if (others[0] != '\0') {
      ereport(WARNING,
              (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
               errmsg("%s can read file \"%s\", which sets \"veza_backup.%s\"", others, source.file,
                      source.setting),
               errhint("Restrict the permissions of the file, or keep the secret in a file "
                       "of its own. Then change the secret.")));
    }
  }
}

// The generation of the settings that the decisions are based on.
std::uint64_t followed_settings = 0;
// A file with keys for S3 was away. It may come without a reload, so it is looked for again.
bool keys_are_away = false;

// Returns false when the settings cannot be used; `report` says why, once for each reload, and
// again when it is for another reason.
bool FollowSettings(ErrorReport* report) {
  const bool is_known = followed_settings == SettingsGeneration();
  if (is_known && !keys_are_away) {
    return true;
  }
  followed_settings = SettingsGeneration();
  keys_are_away = false;
  scheduler->config.reset();
  if (!RepositoryIsSet()) {
    return true;
  }
  if (!is_known) {
    WarnOfOpenSecrets();
  }
  const Status status = CatchExceptions([]() -> Status {
    scheduler->facts = GetServerFacts();
    ASSIGN_OR_RETURN(Config config, CurrentConfig());
    scheduler->keeper.SetSettings(config.schedule, scheduler->Now());
    scheduler->config = std::move(config);
    scheduler->Forget();
    SurveyArchiveSoon();
    LookAtIndexSoon();
    LookAtKeySoon();
    LookForWalNeedSoon();
    RefreshMetricsSoon();
    RestartSchedulesOfCommands();
    return Ok();
  });
  keys_are_away = !status && status.error().code == ErrorCode::kCredentials;
  if (!Failed(status, report)) {
    return true;
  }
  // A file that came may still be of no use.
  static ErrorReport told;
  const bool is_told = is_known && std::strcmp(told.message, report->message) == 0;
  told = *report;
  return is_told;
}

// --- Steps ---------------------------------------------------------------------------------------

void ObeySignals() {
  CHECK_FOR_INTERRUPTS();
  if (ShutdownRequestPending) {
    // After any exit code but 0 the postmaster starts the worker again, unless it is shutting down.
    proc_exit(1);
  }
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
}

bool BeginLook(LookCall* call, ErrorReport* report) {
  const Status status = CatchExceptions([call] {
    call->Prepare(*scheduler->config, scheduler->facts, std::exchange(scheduler->baselines, {}));
    return call->Start();
  });
  return !Failed(status, report);
}

// Takes the result of a call that has ended. `is_state` is set when the repository was not
// initialised yet or somebody holds the lock: that is a normal state, not trouble.
bool EndLook(LookCall* call, bool* is_state, ErrorReport* report) {
  const Status status = CatchExceptions([call]() -> Status {
    RETURN_IF_ERROR(call->Join());
    scheduler->Learn(call->state());
    return Ok();
  });
  if (!status) {
    *is_state = status.error().code == ErrorCode::kFailedPrecondition;
    FillReport(status.error(), report);
  }
  return status.has_value();
}

// Logs one line when the store becomes unreachable, and one when it is back.
void LogStore(bool reachable, bool is_state, const ErrorReport* report) {
  static bool in_trouble = false;
  if (reachable && in_trouble) {
    ereport(LOG, (errmsg("backup scheduling has resumed")));
  } else if (!reachable && !in_trouble) {
    ereport(
        is_state ? LOG : WARNING,
        (errcode(report->sqlstate), errmsg("backup scheduling is interrupted: %s", report->message),
         report->hint[0] != '\0' ? errhint("%s", report->hint) : 0));
  }
  in_trouble = !reachable;
}

// WAL keeps arriving on a standby during the look, so it is watched meanwhile.
bool LookIntoRepository(const Situation& situation) {
  static const uint32 wait_event = WaitEvent("VezaBackupScheduler");
  auto* const call = NewInContext<LookCall>();
  ErrorReport report;
  bool is_state = false;
  bool succeeded = BeginLook(call, &report);
  while (succeeded && !WaitForCall(call, kTickMs, wait_event)) {
    ObeySignals();
    WatchStreamedWal();
  }
  succeeded = succeeded && EndLook(call, &is_state, &report);
  if (!succeeded) {
    scheduler->NoteFailedLook(situation, report.message);
    LookAtKeySoon();
  }
  LogStore(succeeded, is_state, &report);
  return succeeded;
}

const char* TypeOf(const BackupOrder& order) {
  return BackupTypeName(order.type);
}

void StartBackup(const BackupOrder& order) {
  if (order.slot_us != 0) {
    scheduler->NoteStart(order);
    ereport(LOG,
            (errmsg("starting the scheduled %s backup, attempt %d", TypeOf(order), order.attempt)));
  } else {
    ereport(LOG, (errmsg("starting a %s backup because of a gap in the archive", TypeOf(order))));
  }
  MemoryContext volatile context = CurrentMemoryContext;
  PG_TRY();
  {
    RequireArchiving();
    MemoryContextSwitchTo(TopMemoryContext);  // for the worker's handle
    running_request = StartBackupWorker(order);
    backup_is_ours = true;
    MemoryContextSwitchTo(context);
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorReport report;
    FillReport(CopyErrorData(), &report);
    FlushErrorState();
    if (report.sqlstate != ERRCODE_OBJECT_IN_USE) {  // somebody else's backup is running
      RecordFailedStart(order, &report);
    }
    if (scheduler->running) {
      scheduler->NoteFailedBackup(report.message);
      scheduler->running.reset();
    }
    ereport(WARNING,
            (errcode(report.sqlstate),
             errmsg("could not start the %s %s backup: %s",
                    order.slot_us != 0 ? "scheduled" : "automatic", TypeOf(order), report.message),
             report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
  }
  PG_END_TRY();
}

// The worker itself has logged and recorded the result.
void WatchBackup() {
  if (!backup_is_ours) {
    return;
  }
  const BackupOutcome outcome = LookAtBackup(running_request);
  if (!outcome.ended) {
    return;
  }
  if (scheduler->running && !outcome.succeeded &&
      outcome.error.sqlstate != ERRCODE_DUPLICATE_OBJECT) {
    scheduler->NoteFailedBackup(outcome.error.message);
  }
  if (!scheduler->running && outcome.succeeded) {
    SurveyArchiveSoon();  // the gap no longer matters
  }
  if (!outcome.succeeded) {
    LookAtKeySoon();
  }
  RefreshMetricsSoon();
  scheduler->running.reset();
  scheduler->Forget();
  pfree(running_request.handle);
  backup_is_ours = false;
}

Situation Survey() {
  Situation situation{};
  situation.is_primary = !RecoveryInProgress();
  for (int i = 0; i < max_wal_senders && situation.is_primary; ++i) {
    situation.has_standbys |= WalSndCtl->walsnds[i].pid != 0;
  }
  const SharedBackup backup = ReadSharedBackup();
  situation.backup_runs = IsRunning(backup.phase);
  situation.backup_type = backup.type;
  return situation;
}

// Does everything that is due. Returns how many milliseconds to sleep.
long RunOnce() {
  ErrorReport report;
  if (!FollowSettings(&report)) {
    Raise(WARNING, &report);
  }
  // WatchBackup() comes before WatchArchive(): a survey that began before the backup had ended says
  // nothing about a gap that this backup has made harmless.
  WatchBackup();
  // These come before the looks at the repository, which take long while it is unreachable, and
  // which a promoted server may not make at all.
  const Config* const config = scheduler->config ? &*scheduler->config : nullptr;
  const WatchOutcome watched = WatchArchive(config, scheduler->facts);
  const long after_restore_nap_ms = std::min(DropEmptyDatabases(), ResetRecoverySettings());
  Situation situation = Survey();
  static bool was_primary = situation.is_primary;
  if (std::exchange(was_primary, situation.is_primary) != situation.is_primary) {
    scheduler->Forget();
  }
  long nap_ms = 0;
  for (int looks = 0;;) {
    const Decision decision = Decide(*scheduler, situation);
    nap_ms = decision.nap_ms;
    if (decision.skipped[0] != '\0') {
      ereport(LOG, (errmsg("%s", decision.skipped)));
    }
    if (decision.step == Step::kLook && looks++ < kMaxLooks) {
      situation.fresh = LookIntoRepository(situation);
      continue;
    }
    if (decision.step == Step::kStart) {
      StartBackup(decision.order);
      nap_ms = kNapAfterStartMs;
    }
    break;
  }
  PublishSlots(scheduler->keeper);
  if (watched.survey.wants_backup && !backup_is_ours && !Survey().backup_runs) {
    StartBackup(
        {.type = watched.survey.wants_full ? BackupType::kFull : BackupType::kDiff, .fast = true});
  }
  nap_ms = std::min({nap_ms, backup_is_ours ? kNapAfterStartMs : watched.nap_ms,
                     KeepMetricsFile(config, scheduler->facts), RunScheduledCommands(config),
                     WatchKey(config, scheduler->facts),
                     WatchWalNeed(config, scheduler->facts, situation.has_standbys),
                     keys_are_away ? kNapWithoutKeysMs : nap_ms, after_restore_nap_ms});
  // Nothing but the look has noticed a reload that came during it, so run again at once.
  return followed_settings == SettingsGeneration() ? nap_ms : 0;
}

}  // namespace

void RegisterScheduler() {
  BackgroundWorker worker =
      DescribeWorker("VezaBackupSchedulerMain", "veza_backup scheduler", "veza_backup scheduler");
  worker.bgw_restart_time = kRestartSeconds;
  RegisterBackgroundWorker(&worker);
}

}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaBackupSchedulerMain(Datum) {
  using namespace veza::pg;
  static const uint32 wait_event = veza::pg::WaitEvent("VezaBackupSchedulerMain");

  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
  BackgroundWorkerUnblockSignals();

  MemoryContextSwitchTo(TopMemoryContext);
  scheduler = NewInContext<SchedulerState>();
  MemoryContext const context =
      AllocSetContextCreate(TopMemoryContext, "veza_backup scheduler", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(context);
  for (;;) {
    ObeySignals();
    const long nap_ms = RunOnce();
    MemoryContextReset(context);
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap_ms, wait_event);
    ResetLatch(MyLatch);
  }
}
