// vezactl restore: restores a backup into an empty directory, or over an older state of it
// (--delta), and prepares the recovery that the server then does.
#include "core/restore/restore.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/lease.h"
#include "cli/output.h"
#include "cli/restore_options.h"
#include "cli/restore_report.h"
#include "core/restore/plan.h"
#include "core/restore/sweep.h"

namespace veza::cli {
namespace {

// The arguments as given.
struct RestoreArguments {
  std::string target_directory;
  std::string backup;
  TargetArguments target;
  std::optional<std::string> action;
  bool standby = false;
  std::vector<std::string> tablespace_map;
  std::vector<std::string> databases;
  int jobs = 0;
  bool delta = false;
  std::string unknown = "refuse";
  std::string wal_directory;
  bool end_at_gap = false;
  bool dry_run = false;
  bool no_lease = false;
  std::string archive_mode = "off";
  std::string system_id;
  std::string user;
};

Result<std::map<std::string, std::string>> ParseTablespaceMap(
    const std::vector<std::string>& entries) {
  std::map<std::string, std::string> map;
  for (const std::string& entry : entries) {
    // As in pg_basebackup, "\=" stands for a "=" that does not separate the two parts.
    std::string parts[2];
    int part = 0;
    for (std::size_t i = 0; i < entry.size(); ++i) {
      if (entry[i] == '\\' && i + 1 < entry.size() && entry[i + 1] == '=') {
        parts[part] += entry[++i];
      } else if (entry[i] == '=' && part == 0) {
        part = 1;
      } else {
        parts[part] += entry[i];
      }
    }
    if (!parts[0].starts_with('/') || !parts[1].starts_with('/')) {
      return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a tablespace mapping", entry)
          .WithHint("Write OLD=NEW with two absolute paths. Write \\= for a = in a path.");
    }
    ASSIGN_OR_RETURN(const std::string from, AbsolutePath(parts[0]));
    ASSIGN_OR_RETURN(const std::string to, AbsolutePath(parts[1]));
    if (!map.emplace(from, to).second) {
      return MakeError(ErrorCode::kInvalidArgument, "tablespace \"{}\" is mapped twice", from);
    }
  }
  return map;
}

Result<UnknownNames> ParseUnknownNames(const RestoreArguments& arguments) {
  if (arguments.unknown != "refuse" && !arguments.delta) {
    return MakeError(ErrorCode::kInvalidArgument, "--unknown needs --delta")
        .WithHint("Without --delta the directory has to be empty.");
  }
  return arguments.unknown == "keep"     ? UnknownNames::kKeep
         : arguments.unknown == "remove" ? UnknownNames::kRemove
                                         : UnknownNames::kRefuse;
}

Result<RestoreOptions> ParseArguments(const RestoreArguments& arguments) {
  RestoreOptions restore;
  ASSIGN_OR_RETURN(restore.target_directory, AbsolutePath(arguments.target_directory));
  restore.backup_label = arguments.backup;
  ASSIGN_OR_RETURN(restore.target, ParseTarget(arguments.target));
  if (arguments.action) {
    if (restore.target.kind == TargetKind::kEndOfWal) {
      return MakeError(ErrorCode::kInvalidArgument, "--target-action needs a target")
          .WithHint("Without a target the server replays all available WAL and opens for writing.");
    }
    ASSIGN_OR_RETURN(restore.target.action, ParseTargetAction(*arguments.action));
  }
  restore.standby = arguments.standby;
  restore.preserve_archive_mode = arguments.archive_mode == "preserve";
  ASSIGN_OR_RETURN(restore.tablespace_map, ParseTablespaceMap(arguments.tablespace_map));
  ASSIGN_OR_RETURN(restore.system_identifier, ParseSystemId(arguments.system_id));
  restore.jobs = arguments.jobs;
  restore.delta = arguments.delta;
  ASSIGN_OR_RETURN(restore.unknown_names, ParseUnknownNames(arguments));
  if (!arguments.wal_directory.empty()) {
    ASSIGN_OR_RETURN(restore.wal_directory, AbsolutePath(arguments.wal_directory));
  }
  restore.end_at_gap = arguments.end_at_gap;
  restore.databases = arguments.databases;
  return restore;
}

// Whether this account can read the configuration, and the files with credentials.
Status RequireReadableSettings(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  for (const std::string& file :
       config.s3.credentials ? config.s3.credentials->files() : std::vector<std::string>()) {
    if (access(file.c_str(), R_OK) != 0) {
      return ErrnoError(errno, fmt::format("could not read file \"{}\"", file));
    }
  }
  return Ok();
}

// Warns when the account that this process now runs as, and that will run restore_command, cannot
// do so.
void WarnUnlessServerCanFetch(const GlobalOptions& options) {
  const std::string user = OwnAccount().name;
  const Result<std::string> self = OwnProgram();
  if (self && access(self->c_str(), X_OK) != 0) {
    PrintWarning(fmt::format("user \"{}\", which will run PostgreSQL, cannot execute \"{}\", the "
                             "program in restore_command",
                             user, *self),
                 "Before you start the server, install vezactl where every user may execute it.");
  }
  if (const Status readable = RequireReadableSettings(options); !readable) {
    PrintWarning(
        fmt::format("restore_command will fail when user \"{}\" runs it for PostgreSQL: {}", user,
                    readable.error().message),
        "Before you start the server, let that user read the configuration file and the files that "
        "it names.");
  }
}

// Warns about databases without files. With --databases the plan has refused such a backup already.
void WarnOfMissingDatabases(const RestorePlan& plan) {
  const BackupSummary& backup = plan.backup;
  for (const DatabaseSummary& database :
       plan.databases ? std::vector<DatabaseSummary>() : DatabasesWithoutFiles(backup)) {
    PrintWarning(fmt::format("backup {} has no files of database {}", backup.label,
                             QuoteIdentifier(database.name)),
                 kMissingDatabaseHint);
  }
}

// Warns about gaps in the WAL, because less may be restored than is wanted.
void WarnOfGap(const RestorePlan& plan, bool end_at_gap) {
  if (plan.minimal) {
    PrintWarning(fmt::format("WAL from {} on was written with wal_level = minimal",
                             FormatLsn(*plan.minimal)),
                 "Unless the target is before that LSN, the server stops there with an error.");
  }
  if (plan.is_behind_archive) {
    PrintWarning(fmt::format("{} is beyond the end of the WAL in the repository",
                             DescribeTarget(plan.recovery.target)),
                 "Unless more WAL is archived, the server stops at the end of the WAL with an "
                 "error. \"vezactl info\" shows the recovery window.");
  }
  const TargetKind kind = plan.recovery.target.kind;
  if (!plan.ending.unknown.empty() && kind != TargetKind::kEndOfWal &&
      kind != TargetKind::kImmediate) {
    PrintWarning(fmt::format("it is not known with which transaction recovery to {} ends: {}",
                             DescribeTarget(plan.recovery.target), plan.ending.unknown),
                 "If it does not reach the target, the server stops with an error.");
  }
  if (plan.missing_segment.empty()) {
    return;
  }
  if (end_at_gap) {
    PrintWarning(fmt::format(
        "recovery will end before WAL segment \"{}\" at the latest, because the segment "
        "is missing in the repository",
        plan.missing_segment));
  } else {
    PrintWarning(fmt::format("WAL segment \"{}\" is missing in the repository although later ones "
                             "are there",
                             plan.missing_segment),
                 plan.recovery.standby
                     ? "The standby waits there until its primary sends the segment."
                     : "Unless the target is before it, the server stops there with an error.");
  }
}

// Warns, before anything is removed, about links that are replaced and names that are not in the
// backup.
void WarnOfDelta(const RestorePlan& plan) {
  if (!plan.findings) {
    return;
  }
  for (const FollowedLink& link : plan.left_links) {
    PrintWarning(fmt::format("symbolic link \"{}\" is replaced, because the tablespace is restored "
                             "to its location in the backup; the link's target \"{}\" is not "
                             "changed",
                             link.path, link.target),
                 "To restore the tablespace to the link's target, use --tablespace-map.");
  }
  for (const FollowedLink& link : plan.findings->links) {
    PrintWarning(
        fmt::format("symbolic link \"{}\" is replaced; the link's target \"{}\" is not changed",
                    link.path, link.target));
  }
  for (const std::string& path : plan.findings->unknown) {
    PrintWarning(fmt::format("\"{}\", which is not in the backup, is {}", path,
                             plan.unknown_names == UnknownNames::kKeep ? "kept" : "removed"));
  }
}

// The error when a renewal failed and the WAL cannot be looked at. The copied files are complete,
// because each was compared with its digest. But the lease may have lapsed, and what has become of
// the WAL since then can only be known by looking.
Error UnknownAtEnd(Error error) {
  if (error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kCancelled) {
    return error;
  }
  return std::move(error)
      .WithContext(
          "the files are restored, but the lease on the backup may have lapsed, and it is not "
          "known whether the WAL that recovery needs is still there")
      .WithHint(
          "When the repository can be reached again, repeat the restore with --delta, which checks "
          "everything and copies little.");
}

// Whether a lease is to be taken. The past cannot be written to, and the lifecycle rule that
// removes old versions reads no lease.
bool WantsLease(const GlobalOptions& options, const RestoreArguments& arguments) {
  if (options.as_of) {
    PrintWarning(
        "the restored server begins a history of its own, beside the one in the repository",
        "Before it archives, give it another name in veza_backup.cluster. It removes "
        "--as-of from its restore_command when recovery has ended, if it loads "
        "veza_backup. Otherwise run ALTER SYSTEM RESET restore_command then.");
  }
  if (options.as_of && !arguments.no_lease) {
    PrintWarning("a restore with --as-of takes no lease",
                 "Until recovery has ended, see that no lifecycle rule removes old versions from "
                 "the bucket, and that nobody else does.");
  }
  return !options.as_of && !arguments.no_lease;
}

// Restores under a lease. The lease stays until the server has been started and has received its
// WAL: wal-get renews it. The lease of a standby is not renewed, because a standby may ask for WAL
// for years.
Result<RestoreReport> RestoreUnderLease(const GlobalOptions& options, const Repository& repository,
                                        RestorePlan& plan, bool wanted) {
  std::unique_ptr<RestoreLease> lease;
  if (wanted) {
    ASSIGN_OR_RETURN(lease, TakeLease(options, repository, plan, "restore"));
  }
  if (lease && !plan.recovery.standby) {
    plan.recovery.restore_command += fmt::format("{} {}", kLeaseOption, lease->name());
  }
  // Called when the server could be started. From here on the lease lasts long enough for recovery,
  // whatever ends this process. A store that refuses the write is no reason to give up the copy.
  Status kept;
  Result<RestoreReport> report = RestoreWithProgress(options, repository, plan, [&] {
    kept = lease ? lease->KeepFor(kRecoveryLease) : Ok();
    return options.environment.cancellation->Check();
  });
  if (!report) {
    EndLease(options, std::move(lease));
    return report;
  }
  if (!kept) {
    kept = lease->KeepFor(kRecoveryLease);
    // The shorter lease may have lapsed meanwhile.
    if (Status there = RequireStillThere(repository, plan); !there) {
      return UnknownAtEnd(std::move(there.error()));
    }
  }
  if (!kept) {
    PrintWarning(fmt::format("retention may soon remove the WAL that recovery needs: {}",
                             kept.error().message),
                 "Start the server at once.");
  }
  return report;
}

// What makes wal-get notice that the last segments have gone since: no lease protects them, and
// without a target, recovery would end early as if that were the end of the WAL. Empty where
// another check finds that out (a target that is not reached), or where it is not known.
std::string LastSegmentOption(const RestorePlan& plan) {
  if (plan.recovery.target.kind != TargetKind::kEndOfWal || plan.ends_at_gap || plan.wal_end == 0) {
    return "";
  }
  const SegmentNumber last = plan.wal_end - 1;
  const std::uint64_t size = plan.backup.wal_segment_size;
  return fmt::format("{} {}", kLastSegmentOption,
                     SegmentName(TimelineOnPath(plan.history, last, size), last, size));
}

Result<int> RunRestore(const GlobalOptions& options, const RestoreArguments& arguments) {
  ASSIGN_OR_RETURN(RestoreOptions restore, ParseArguments(arguments));
  if (options.as_of && arguments.standby) {
    return MakeError(ErrorCode::kInvalidArgument, "--as-of and --standby exclude each other")
        .WithHint(
            "A standby follows the archive as it grows. Restore without --standby, and make a "
            "standby of the server that comes of it.");
  }
  const bool is_root = geteuid() == 0;
  ASSIGN_OR_RETURN(const Account account, ChooseAccount(arguments.user));
  // Read as root, who may be the only one who can read the settings.
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  if (config.kind == RepositoryKind::kDirectory) {
    // The last component of config.directory is the cluster's directory.
    restore.repository_directory = std::filesystem::path(config.directory).parent_path().string();
  }
  GetCredentialsAsRoot(options, config);
  RETURN_IF_ERROR(BecomeAccount(account));
  if (is_root) {
    WarnUnlessServerCanFetch(options);
  }
  WarnOfSuspendedVersions(options, config);
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   OpenRepository(options, config, RestoreRetries(config)));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(restore.system_identifier));
  // Named explicitly from here on, because another system may be added to the repository later.
  restore.system_identifier = identity.system_identifier;
  ASSIGN_OR_RETURN(restore.restore_command,
                   MakeRestoreCommand(options, identity.system_identifier));
  if (options.as_of) {
    // WAL is read of the same time. No word for the shell to quote, and none with a blank in it.
    restore.restore_command += fmt::format("{} {}", kAsOfOption, FormatUtc(*options.as_of));
  }
  if (options.mirror) {
    restore.restore_command += fmt::format("{} mirror", kRepositoryOption);
  }
  if (restore.jobs == 0) {
    restore.jobs = DefaultJobs(config);
  }
  ASSIGN_OR_RETURN(RestorePlan plan, PlanRestore(*repository, restore));
  if (options.as_of) {
    // By number, so that wal-get may answer for timelines of later times without leading there.
    plan.recovery.target.timeline = {TargetTimeline::Kind::kNumber, plan.target_timeline};
    plan.recovery.restore_command += LastSegmentOption(plan);
  }
  WarnOfGap(plan, arguments.end_at_gap);
  // These warnings come also in a dry run: what is restored may be wrong.
  WarnOfDoubt(plan);
  WarnOfMissingDatabases(plan);
  WarnOfUnreadWal(plan);
  WarnOfDelta(plan);
  if (arguments.dry_run) {
    PrintPlan(options, plan);
    return kDone;
  }

  const Clock& clock = *options.environment.clock;
  const SteadyTime begin = clock.Steady();
  ASSIGN_OR_RETURN(const RestoreReport report,
                   RestoreUnderLease(options, *repository, plan, WantsLease(options, arguments)));
  PrintReport(options, plan, report,
              std::chrono::duration_cast<std::chrono::milliseconds>(clock.Steady() - begin));
  return kDone;
}

}  // namespace

Subcommand AddRestore(Command parent) {
  auto arguments = std::make_shared<RestoreArguments>();
  Command command =
      parent.AddCommand("restore", "Restore a backup and prepare recovery to a target");
  command
      .Add("--target-dir", arguments->target_directory,
           "Data directory to create; must be absent or empty, unless --delta is given")
      .Required()
      .TypeName("DIR");
  command.AddFlag(
      "--delta", arguments->delta,
      "Restore into an existing data directory: keep what is the same in the backup, remove what "
      "is not in the backup");
  command
      .Add("--unknown", arguments->unknown,
           "With --delta: what to do if names at the top of the directory are neither in the "
           "backup nor PostgreSQL's: refuse the restore, keep them or remove them")
      .OneOf({"refuse", "keep", "remove"})
      .TypeName("ACTION");
  command
      .Add("--waldir", arguments->wal_directory,
           "Make pg_wal a symbolic link to this directory; default: keep the target "
           "directory's link, if it has one")
      .TypeName("DIR");
  command.AddFlag("--dry-run", arguments->dry_run,
                  "Only say what would be restored, where, and with which settings");
  command.AddFlag(
      "--no-lease", arguments->no_lease,
      "Take no lease. A lease keeps retention from removing the backup and its WAL during restore "
      "and recovery");
  AddBackupOption(command, arguments->backup);
  AddTargetOptions(command, arguments->target);
  command
      .Add("--target-action", arguments->action,
           "At the target: pause (default), promote or shutdown")
      .TypeName("pause|promote|shutdown");
  command.AddFlag("--end-at-gap", arguments->end_at_gap,
                  "If a WAL segment is missing although later ones are there, recover up to it");
  command
      .Add("--user", arguments->user,
           "Operating system user that will run PostgreSQL and own the files; required when root "
           "runs vezactl, which then becomes that user")
      .TypeName("NAME");
  command.AddFlag("--standby", arguments->standby,
                  "Make a standby, which keeps following the archive or a primary");
  command
      .Add("--tablespace-map", arguments->tablespace_map,
           "Restore the tablespace at OLD to NEW; may be repeated")
      .TypeName("OLD=NEW");
  command
      .Add("--databases", arguments->databases,
           "Restore only these databases and those that initdb makes; the others are restored "
           "empty and dropped later. May be repeated")
      .TypeName("NAME[,NAME...]");
  AddJobsOption(command, arguments->jobs);
  command
      .Add("--archive-mode", arguments->archive_mode,
           "off: the restored server does not write to the archive of the original; preserve: "
           "keep the setting of the original")
      .OneOf({"off", "preserve"})
      .ShowsDefault();
  AddSystemIdOption(command, arguments->system_id);
  return {command,
          [arguments](const GlobalOptions& options) { return RunRestore(options, *arguments); },
          DefaultExitCode, true};
}

}  // namespace veza::cli
