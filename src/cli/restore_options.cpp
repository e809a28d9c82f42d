#include "cli/restore_options.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "cli/output.h"
#include "cli/progress.h"
#include "core/backup/suspect_diff.h"
#include "core/restore/recovery_settings.h"
#include "core/restore/target_time.h"

namespace veza::cli {

void AddBackupOption(Command command, std::string& label) {
  command
      .Add("--backup", label,
           "Label of the backup; default: the newest one from which the target can be reached")
      .TypeName("LABEL");
}

void AddTargetOptions(Command command, TargetArguments& arguments) {
  Command target =
      command.AddAlternatives("Recovery target", "At most one; default: all available WAL");
  target.Add("--target-time", arguments.time,
             "Up to a time, for example \"2026-11-22 02:00:00+00\"; local time without a zone");
  target.Add("--target-lsn", arguments.lsn, "Up to a position in the WAL");
  target.Add("--target-xid", arguments.xid, "Up to the end of a transaction");
  target.Add("--target-name", arguments.name,
             "Up to a restore point made with pg_create_restore_point()");
  target.AddFlag("--target-immediate", arguments.immediate,
                 "Only up to the point where the backup is consistent");

  command
      .Add("--target-timeline", arguments.timeline,
           "Timeline to follow: latest, current (the backup's own) or a number")
      .TypeName("latest|current|N")
      .ShowsDefault();
  const Option inclusive = command.AddFlag("--target-inclusive", arguments.inclusive,
                                           "Stop after the time, LSN or transaction (default)");
  command
      .AddFlag("--target-exclusive", arguments.exclusive,
               "Stop before the time, LSN or transaction")
      .Excludes(inclusive);
}

Result<RecoveryTarget> ParseTarget(const TargetArguments& arguments) {
  RecoveryTarget target;
  if (arguments.time) {
    target.kind = TargetKind::kTime;
    ASSIGN_OR_RETURN(target.time, ParseTargetTime(*arguments.time));
  } else if (arguments.lsn) {
    target.kind = TargetKind::kLsn;
    ASSIGN_OR_RETURN(target.lsn, ParseLsn(*arguments.lsn));
  } else if (arguments.xid) {
    target.kind = TargetKind::kXid;
    ASSIGN_OR_RETURN(target.xid, ParseTargetXid(*arguments.xid));
  } else if (arguments.name) {
    target.kind = TargetKind::kName;
    ASSIGN_OR_RETURN(target.name, ParseTargetName(*arguments.name));
  } else if (arguments.immediate) {
    target.kind = TargetKind::kImmediate;
  }
  ASSIGN_OR_RETURN(target.timeline, ParseTargetTimeline(arguments.timeline));

  const bool has_position = target.kind == TargetKind::kTime || target.kind == TargetKind::kLsn ||
                            target.kind == TargetKind::kXid;
  if ((arguments.inclusive || arguments.exclusive) && !has_position) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "--target-inclusive and --target-exclusive need a target")
        .WithHint("Add --target-time, --target-lsn or --target-xid.");
  }
  target.inclusive = !arguments.exclusive;
  return target;
}

Result<std::string> AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error || path.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a usable path", path);
  }
  std::string text = absolute.lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/')) {
    text.pop_back();
  }
  return text;
}

Result<std::string> MakeRestoreCommand(const GlobalOptions& options,
                                       std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const std::string self, OwnProgram());
  ASSIGN_OR_RETURN(const std::string config_file, AbsolutePath(options.config_file));
  std::error_code error;
  if (std::filesystem::exists(config_file, error) &&
      !std::filesystem::is_regular_file(config_file, error)) {
    return MakeError(ErrorCode::kInvalidArgument, "configuration file \"{}\" is not a regular file",
                     config_file)
        .WithHint(
            "The restored server's restore_command reads it for each WAL file. Use a file that "
            "will still be there.");
  }
  return BuildRestoreCommand(self, config_file, system_identifier);
}

Result<std::vector<std::string>> MakeWalGet(const GlobalOptions& options,
                                            std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const std::string self, OwnProgram());
  ASSIGN_OR_RETURN(const std::string config_file, AbsolutePath(options.config_file));
  return std::vector<std::string>{self,      "--config",    config_file,
                                  "wal-get", "--system-id", std::to_string(system_identifier)};
}

Result<RestoreReport> RestoreWithProgress(const GlobalOptions& options,
                                          const Repository& repository, const RestorePlan& plan,
                                          const std::function<Status()>& copied) {
  RestoreProgress progress;
  ProgressReporter reporter(*options.environment.clock, options.quiet, [&] {
    return ProgressState{progress.bytes_done, progress.bytes_total,
                         progress.syncing ? "flushing to disk" : "restoring"};
  });
  Result<RestoreReport> report = ExecuteRestore(repository, plan, progress, copied);
  reporter.Stop();
  return report;
}

void WarnOfDoubt(const RestorePlan& plan) {
  if (!plan.passed_over.empty()) {
    PrintWarning(
        fmt::format("the newest backup is passed over: {}", plan.passed_over),
        fmt::format("Backup {} and the WAL after it lead to the same target. To restore the "
                    "other one, name it with --backup.",
                    plan.backup.label));
  }
  if (!plan.damage.empty()) {
    PrintWarning(fmt::format("backup {}: {}", plan.backup.label, plan.damage),
                 "The restore ends with an error at a damaged object. An older backup and its WAL "
                 "may lead to the same target: name it with --backup. If the objects are good "
                 "again, \"vezactl verify --full\" says so.");
  }
  if (!plan.doubt.empty()) {
    PrintWarning(plan.doubt, SuspectDiff(plan.backup).empty()
                                 ? "The pages were damaged when the backup was made, and are "
                                   "restored as they were. An older backup and its WAL may have "
                                   "them undamaged."
                                 : kSuspectDiffHint);
  }
}

void WarnOfUnreadWal(const RestorePlan& plan) {
  const UnloggedBuilds& unlogged = plan.unlogged;
  if (unlogged.unread > 0) {
    PrintWarning(
        fmt::format("WAL from LSN {} to {} has {} {} that no index covers or that cannot be read, "
                    "and was not looked at for unlogged relations that were being made during "
                    "the backup",
                    FormatLsn(unlogged.unread_from), FormatLsn(unlogged.unread_to), unlogged.unread,
                    unlogged.unread == 1 ? "segment" : "segments"),
        "If the server stops at the end of recovery because it could not create a file (File "
        "exists), start it again: it then removes what is in the way.");
  }
}

}  // namespace veza::cli
