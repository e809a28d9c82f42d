#include "cli/drill/run.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <optional>
#include <sstream>
#include <utility>

#include "cli/confinement.h"
#include "cli/drill/databases.h"
#include "cli/lease.h"
#include "cli/output.h"
#include "cli/restore_options.h"
#include "cli/signals.h"
#include "core/backup/suspect_diff.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/connect.h"
#include "core/restore/recovery_end.h"
#include "core/restore/restore.h"
#include "core/retention/expire.h"

namespace veza::cli {
namespace {

using std::chrono::milliseconds;

// Asked right after promotion, so that only recovery can have written.
constexpr const char* kRecoveredQuery =
    "SELECT (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint, "
    "pg_is_in_recovery(), pg_last_wal_replay_lsn()";

class Drill {
 public:
  Drill(const GlobalOptions& options, DrillOptions drill)
      : options_(options), drill_(std::move(drill)), clock_(*options.environment.clock) {
    record_.node = HostName();
    record_.started = clock_.Now();
    begin_ = clock_.Steady();
  }

  DrillOutcome Run() {
    const Status status = RunPhases();
    if (!status) {
      Judge(status.error());
      ExplainWaiting();
    } else {
      outcome_.exit_code = record_.checks_failed == 0 ? kDone : kBadAnswer;
    }
    CleanUp();
    EndLease(options_, std::move(lease_));
    record_.finished = clock_.Now();
    record_.passed = outcome_.exit_code == kDone;
    if (outcome_.error) {
      record_.error = outcome_.error->message;
    }
    if (!outcome_.interrupted) {
      Record();
    }
    outcome_.record = record_;
    return std::move(outcome_);
  }

 private:
  Status RunPhases() {
    RETURN_IF_ERROR(Timed("restore", [this] { return Restore(); }));
    restored_ = true;
    RETURN_IF_ERROR(Timed("recovery", [this] { return Recover(); }));
    record_.rto = std::chrono::duration_cast<milliseconds>(clock_.Steady() - begin_);
    // The server is open, and asks for no more WAL.
    EndLease(options_, std::move(lease_));
    RETURN_IF_ERROR(LearnAge());
    RETURN_IF_ERROR(Timed("checks", [this] { return RunSqlChecks(); }));
    if (drill_.amcheck || drill_.dump) {
      RETURN_IF_ERROR(RollBackPrepared(*server_));
    }
    if (drill_.amcheck) {
      RETURN_IF_ERROR(
          Timed("amcheck", [this] { return Take(RunAmcheck(*server_, databases_, plan_.jobs)); }));
    }
    if (drill_.dump) {
      RETURN_IF_ERROR(RenameForDump(*server_, databases_, *options_.environment.random));
      RETURN_IF_ERROR(Timed("dump", [this] { return Take(RunDump(*server_)); }));
    }
    RETURN_IF_ERROR(Timed("checksums", [this] { return CheckPages(); }));
    return Ok();
  }

  template <typename Phase>
  Status Timed(const char* name, Phase phase) {
    const SteadyTime begin = clock_.Steady();
    Status status = phase();
    record_.phases[name] = std::chrono::duration_cast<milliseconds>(clock_.Steady() - begin);
    return status;
  }

  Status Restore() {
    ASSIGN_OR_RETURN(const Config config, LoadConfig(options_.config_file));
    ASSIGN_OR_RETURN(repository_, OpenRepository(options_, config, RestoreRetries(config)));
    RestoreOptions& restore = drill_.restore;
    ASSIGN_OR_RETURN(const Identity identity, repository_->IdentityOf(restore.system_identifier));
    restore.system_identifier = identity.system_identifier;
    RETURN_IF_ERROR(RequireOwnProgram());
    RETURN_IF_ERROR(Confine());
    ASSIGN_OR_RETURN(wal_get_, MakeWalGet(options_, identity.system_identifier));
    restore.target_directory = DrillServer::DataDirectory(drill_.directory);
    restore.tablespace_root = drill_.directory + "/tablespaces";
    restore.target.action = TargetAction::kPromote;
    restore.doubtful_backups = DoubtfulBackups::kTake;
    if (restore.jobs == 0) {
      restore.jobs = DefaultJobs(config);
    }
    // RequireWayToTheEnd() decides about gaps.
    restore.end_at_gap = true;
    record_.target = DescribeTarget(restore.target);
    record_.label = ParseLabel(restore.backup_label) ? restore.backup_label : "";
    ASSIGN_OR_RETURN(plan_, PlanRestore(*repository_, restore));
    record_.label = plan_.backup.label;
    record_.system_identifier = plan_.backup.system_identifier;
    record_.suspect = !SuspectDiff(plan_.backup).empty();
    WarnOfDoubt(plan_);
    WarnOfUnreadWal(plan_);
    RETURN_IF_ERROR(RequireWayToTheEnd(config));
    // Fixed now, so that a timeline that begins during the drill does not change where recovery
    // must end.
    plan_.recovery.target.timeline = {TargetTimeline::Kind::kNumber, plan_.target_timeline};
    if (restore.target.kind == TargetKind::kEndOfWal) {
      ASSIGN_OR_RETURN(planned_end_, PlanEnd(*repository_, plan_));
    }
    ASSIGN_OR_RETURN(const std::string programs, FindPrograms());
    RETURN_IF_ERROR(ConfineFiles(programs));

    if (drill_.lease) {
      ASSIGN_OR_RETURN(lease_, TakeLease(options_, *repository_, plan_, "drill"));
    }
    ASSIGN_OR_RETURN(const RestoreReport report,
                     RestoreWithProgress(options_, *repository_, plan_));
    record_.restored_bytes = report.bytes;
    server_.emplace(DrillServerOptions{.directory = drill_.directory,
                                       .programs = programs,
                                       .preload = drill_.preload,
                                       .role = drill_.role,
                                       .lock = drill_.lock,
                                       .confinement = confinement_.get(),
                                       .calls = calls_.empty() ? nullptr : &calls_,
                                       .wal_confinement = wal_confinement_.get(),
                                       .wal_get = WalGet()},
                    plan_, options_.environment);
    return Ok();
  }

  // Refuses a backup behind which a segment is missing: the server would open at the gap as if that
  // were the end of the WAL. It is allowed when retention was never meant to keep WAL for that
  // backup.
  Status RequireWayToTheEnd(const Config& config) const {
    if (plan_.missing_segment.empty() || drill_.restore.target.kind != TargetKind::kEndOfWal) {
      return Ok();
    }
    ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(*repository_));
    ASSIGN_OR_RETURN(const std::optional<BackupSummary> anchor,
                     OldestWithAllWal(*repository_, plan_.backup.system_identifier,
                                      RetentionOf(config), std::move(catalog), clock_.Now()));
    if (anchor && plan_.backup.start_lsn < anchor->start_lsn) {
      return Ok();
    }
    return MakeError(ErrorCode::kDataCorrupted,
                     "recovery would end before WAL segment \"{}\", which is missing in the "
                     "repository although later ones are there",
                     plan_.missing_segment)
        .WithHint(
            "Take a backup, so that later recoveries can begin after the gap. \"vezactl info\" "
            "shows what is missing.");
  }

  // wal-get gets a spool of its own, because no parent process tells which recovery it works for.
  std::vector<std::string> WalGet() const {
    std::vector<std::string> words = wal_get_;
    words.insert(words.end(), {"--spool", drill_.directory + "/spool"});
    if (plan_.ends_at_gap) {
      words.emplace_back("--end-at-gap");
    }
    return words;
  }

  static Status RequireOwnProgram() {
    const Result<std::string> self = OwnProgram();
    if (self && access(self->c_str(), X_OK) != 0) {
      return ErrnoError(errno, fmt::format("could not execute \"{}\" as the user that runs "
                                           "PostgreSQL",
                                           *self))
          .WithHint("Install vezactl where every user may execute it.");
    }
    return Ok();
  }

  // The restored server must be confined. WAL can lead it to files of the original (see
  // DrillServer), which its account may be able to write, and the databases hold code of others.
  Status Confine() {
    RETURN_IF_ERROR(TakeConfinement(
        ConfineWritesTo(drill_.directory), wal_confinement_,
        "could not confine the restored server to its directory",
        "Run the drill on a kernel with Landlock. Use --allow-unconfined only where "
        "the drill's user cannot write to another PostgreSQL's files, and cannot "
        "read secrets."));
    return TakeConfinement(RefuseCalls(), calls_,
                           "could not keep the restored server from the network",
                           "Run the drill where processes may use seccomp filters. Use "
                           "--allow-unconfined only where neither a network nor another server's "
                           "socket can be reached.");
  }

  template <typename Confinement>
  Status TakeConfinement(Result<Confinement> made, Confinement& taken, const char* what,
                         const char* hint) const {
    if (made || made.error().code != ErrorCode::kUnsupported) {
      ASSIGN_OR_RETURN(taken, std::move(made));
      return Ok();
    }
    const std::string message = fmt::format("{}: {}", what, made.error().message);
    if (!drill_.allow_unconfined) {
      return Error{ErrorCode::kUnsupported, message, hint};
    }
    PrintWarning(message);
    return Ok();
  }

  Status ConfineFiles(const std::string& programs) {
    if (!wal_confinement_.valid()) {
      return Ok();
    }
    std::vector<std::string> readable = drill_.readable;
    readable.push_back(InstallationOf(programs));
    // These directories are also in the server's environment.
    std::istringstream libraries(ProcessEnvironment()(kLibraryPath).value_or(""));
    for (std::string directory; std::getline(libraries, directory, ':');) {
      if (directory.starts_with('/')) {
        readable.push_back(directory);
      }
    }
    ASSIGN_OR_RETURN(confinement_, ConfineFilesTo(drill_.directory, readable));
    return Ok();
  }

  Result<std::string> FindPrograms() const {
    std::vector<std::string> programs = {"psql", "pg_controldata"};
    if (drill_.amcheck) {
      programs.emplace_back("pg_amcheck");
    }
    if (drill_.dump) {
      programs.emplace_back("pg_dumpall");
      programs.emplace_back("pg_dump");
    }
    return FindServerPrograms(plan_.backup.postgres_version_num / 10000, drill_.pg_bin, programs,
                              *options_.environment.cancellation);
  }

  Status Recover() {
    RETURN_IF_ERROR(server_->Start());
    return server_->WaitUntilOpen();
  }

  // The databases to try first. Later the drill finds out which there are.
  std::vector<std::string> KnownDatabases() const {
    std::vector<std::string> databases = {"postgres", "template1"};
    for (const DatabaseSummary& database : plan_.backup.databases) {
      if (std::ranges::find(databases, database.name) == databases.end()) {
        databases.push_back(database.name);
      }
    }
    return databases;
  }

  // Finds out how old the restored data is. What the backup held when it ended is certainly there,
  // even if nobody has committed since.
  Status LearnAge() {
    ASSIGN_OR_RETURN(const FirstAnswer answer, AskAny(*server_, KnownDatabases(), kRecoveredQuery));
    server_->UseDatabase(answer.database);
    if (answer.values.size() != 3 || answer.values[1] != "f") {
      return MakeError(ErrorCode::kFailedPrecondition, "the restored server is still in recovery");
    }
    ASSIGN_OR_RETURN(reached_, ParseLsn(answer.values[2]));
    TimePoint newest = plan_.backup.stop_time;
    if (!answer.values[0].empty()) {
      record_.last_commit =
          TimePoint(std::chrono::microseconds(std::strtoll(answer.values[0].c_str(), nullptr, 10)));
      newest = std::max(newest, *record_.last_commit);
    }
    record_.rpo = std::max(milliseconds(0),
                           std::chrono::duration_cast<milliseconds>(record_.started - newest));
    return Ok();
  }

  // Checks that recovery came to the planned end. For the server, wherever it opens is the end.
  Status CheckEnd() {
    if (!planned_end_) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const std::string block_size, server_->ControlData("WAL block size"));
    Status ended = RequireEnd(*repository_, plan_, *planned_end_, reached_,
                              static_cast<std::uint32_t>(std::atoi(block_size.c_str())),
                              drill_.directory + "/segment");
    if (!ended && ended.error().code != ErrorCode::kDataCorrupted) {
      return ended;
    }
    CheckOutcome outcome{"end of the WAL", ended.has_value(),
                         fmt::format("recovery ended at {}", FormatLsn(reached_))};
    if (!ended) {
      outcome.detail = ended.error().message;
      outcome.hint = ended.error().hint;
    }
    return Take(std::move(outcome));
  }

  Status RunSqlChecks() {
    RETURN_IF_ERROR(CheckEnd());
    RETURN_IF_ERROR(ForgetSettings(*server_));
    std::string reader = drill_.check_role;
    if (reader.empty()) {
      ASSIGN_OR_RETURN(reader, MakeReader(*server_, *options_.environment.random));
    }
    server_->UseReader(std::move(reader));
    ASSIGN_OR_RETURN(databases_, ListDatabases(*server_));
    RETURN_IF_ERROR(Take(EnterDatabases(*server_, databases_)));
    for (const SqlCheck& check : drill_.checks) {
      RETURN_IF_ERROR(Take(RunSqlCheck(*server_, check)));
    }
    return Ok();
  }

  Status CheckPages() {
    RETURN_IF_ERROR(server_->StopCleanly());
    ASSIGN_OR_RETURN(std::vector<CheckOutcome> outcomes,
                     RunPageChecks(*server_, DrillServer::DataDirectory(drill_.directory),
                                   plan_.jobs, options_.environment));
    for (CheckOutcome& outcome : outcomes) {
      RETURN_IF_ERROR(Take(std::move(outcome)));
    }
    return Ok();
  }

  Status Take(Result<CheckOutcome> outcome) {
    RETURN_IF_ERROR(outcome);
    ++(outcome->passed ? record_.checks_passed : record_.checks_failed);
    if (!outcome->passed && !outcome_.error) {
      outcome_.error = MakeError(ErrorCode::kDataCorrupted, "check \"{}\" failed: {}",
                                 outcome->name, outcome->detail)
                           .WithHint(outcome->hint);
    }
    outcome_.checks.push_back(std::move(*outcome));
    return Ok();
  }

  void Judge(const Error& error) {
    if (error.code == ErrorCode::kCancelled && CaughtSignal() == SIGALRM) {
      outcome_.error = MakeError(ErrorCode::kDeadlineExceeded,
                                 "the drill was not finished after {} s", drill_.timeout_seconds)
                           .WithHint("Use --timeout to give it more time.");
      outcome_.exit_code = kBadAnswer;
    } else if (error.code == ErrorCode::kCancelled && CaughtSignal() != 0) {
      outcome_.error = error;
      outcome_.exit_code = 128 + CaughtSignal();
      outcome_.interrupted = true;
    } else {
      outcome_.error = error;
      // What the drill was not able to do says nothing about the backup.
      const bool tried =
          restored_ && error.code != ErrorCode::kUnsupported && !IsOfEnvironment(error.code);
      outcome_.exit_code = tried ? kBadAnswer : DefaultExitCode(error);
    }
  }

  // When the drill was stopped or ran out of time while recovery waited for WAL, adds that as the
  // cause.
  void ExplainWaiting() {
    const bool was_stopped = outcome_.error->code == ErrorCode::kCancelled ||
                             outcome_.error->code == ErrorCode::kDeadlineExceeded;
    const std::string waits_for =
        was_stopped && server_ && !record_.rto ? server_->WhatItWaitsFor() : "";
    if (!waits_for.empty()) {
      outcome_.error->message += fmt::format("; recovery waited for WAL: {}", waits_for);
    }
  }

  void CleanUp() {
    outcome_.kept = drill_.keep && !outcome_.interrupted && restored_;
    if (!server_) {
      return;
    }
    const bool was_open = record_.rto.has_value();
    if (outcome_.kept && was_open && options_.environment.cancellation->Check()) {
      const Status stopped = server_->running() ? server_->StopCleanly() : Ok();
      AdoptOrphans(false);
      const Status started = stopped ? server_->StartForGood() : stopped;
      if (started) {
        outcome_.how_to_connect = server_->HowToConnect();
        outcome_.how_to_stop = server_->HowToStop();
      } else {
        PrintWarning(started.error().message);
      }
    }
    server_.reset();
  }

  // A drill that could not take place is not recorded, because it says nothing about the backup.
  void Record() {
    options_.environment.cancellation->Reset();
    if (!repository_ || record_.label.empty()) {
      return;
    }
    if (drill_.record && outcome_.exit_code != kFailed) {
      Result<std::string> name = StoreDrill(*repository_, record_);
      if (name) {
        outcome_.record_name = *name;
      } else {
        // For example with credentials that may only read. The drill took place all the same.
        PrintWarning(
            fmt::format("could not store the record of the drill: {}", name.error().message));
      }
    }
    if (!record_.passed) {
      if (const auto drills = ReadDrills(*repository_)) {
        outcome_.last_passed = LastPassed(*drills);
      }
    }
  }

  const GlobalOptions& options_;
  DrillOptions drill_;
  const Clock& clock_;
  SteadyTime begin_;
  DrillRecord record_;
  DrillOutcome outcome_;
  std::unique_ptr<Repository> repository_;
  std::unique_ptr<RestoreLease> lease_;  // renewed while the drill needs WAL
  RestorePlan plan_;
  bool restored_ = false;
  std::optional<PlannedEnd> planned_end_;  // of a drill to the end of the WAL
  Lsn reached_;
  UniqueFd confinement_;      // for the server and for our programs that talk to it
  UniqueFd wal_confinement_;  // for wal-get
  CallFilter calls_;          // for the server; empty: none
  std::vector<std::string> wal_get_;
  std::optional<DrillServer> server_;
  std::vector<std::string> databases_;  // those that allow connections
};

}  // namespace

DrillOutcome RunDrill(const GlobalOptions& options, DrillOptions drill) {
  return Drill(options, std::move(drill)).Run();
}

}  // namespace veza::cli
