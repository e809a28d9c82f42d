// vezactl restore: a backup into an empty directory, ready for the server to recover.
#include "core/restore/restore.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/restore/plan.h"
#include "core/restore/target_time.h"

namespace veza::cli {
namespace {

// As typed.
struct RestoreArguments {
  std::string target_directory;
  std::string backup;
  std::optional<std::string> time;
  std::optional<std::string> lsn;
  std::optional<std::string> xid;
  std::optional<std::string> name;
  bool immediate = false;
  std::string timeline = "latest";
  bool inclusive = false;
  bool exclusive = false;
  std::optional<std::string> action;
  bool standby = false;
  std::vector<std::string> tablespace_map;
  int jobs = 0;
  std::string archive_mode = "off";
  std::string system_id;
};

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

Result<RecoveryTarget> ParseTarget(const RestoreArguments& arguments) {
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
  if (arguments.action) {
    if (target.kind == TargetKind::kEndOfWal) {
      return MakeError(ErrorCode::kInvalidArgument, "--target-action needs a target")
          .WithHint("Without a target the server recovers all WAL there is and opens for writing.");
    }
    ASSIGN_OR_RETURN(target.action, ParseTargetAction(*arguments.action));
  }
  return target;
}

Result<std::map<std::string, std::string>> ParseTablespaceMap(
    const std::vector<std::string>& entries) {
  std::map<std::string, std::string> map;
  for (const std::string& entry : entries) {
    // As in pg_basebackup, a backslash makes the next character a plain one.
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
          .WithHint("Write OLD=NEW with two absolute directories, and \\= for a = inside one.");
    }
    ASSIGN_OR_RETURN(const std::string from, AbsolutePath(parts[0]));
    ASSIGN_OR_RETURN(const std::string to, AbsolutePath(parts[1]));
    if (!map.emplace(from, to).second) {
      return MakeError(ErrorCode::kInvalidArgument, "tablespace \"{}\" is mapped twice", from);
    }
  }
  return map;
}

// The server runs it in its data directory and with another environment: full paths only.
Result<std::string> MakeRestoreCommand(const GlobalOptions& options,
                                       std::uint64_t system_identifier) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return ErrnoError(error.value(), "could not find the path of vezactl itself");
  }
  ASSIGN_OR_RETURN(const std::string config_file, AbsolutePath(options.config_file));
  return BuildRestoreCommand(self.string(), config_file, system_identifier);
}

Result<RestoreOptions> ParseArguments(const RestoreArguments& arguments) {
  RestoreOptions restore;
  ASSIGN_OR_RETURN(restore.target_directory, AbsolutePath(arguments.target_directory));
  restore.backup_label = arguments.backup;
  ASSIGN_OR_RETURN(restore.target, ParseTarget(arguments));
  restore.standby = arguments.standby;
  restore.preserve_archive_mode = arguments.archive_mode == "preserve";
  ASSIGN_OR_RETURN(restore.tablespace_map, ParseTablespaceMap(arguments.tablespace_map));
  ASSIGN_OR_RETURN(restore.system_identifier, ParseSystemId(arguments.system_id));
  restore.jobs = arguments.jobs;
  return restore;
}

void PrintReport(const GlobalOptions& options, const RestorePlan& plan, const RestoreReport& report,
                 std::chrono::milliseconds elapsed) {
  if (options.json) {
    nlohmann::json document = {
        {"label", plan.backup.label},
        {"target_directory", plan.target_directory},
        {"system_identifier", std::to_string(plan.backup.system_identifier)},
        {"target", DescribeTarget(plan.recovery.target)},
        {"target_timeline", plan.target_timeline},
        {"signal_file", SignalFileName(plan.recovery)},
        {"restore_command", plan.recovery.restore_command},
        {"files", report.files},
        {"bytes", report.bytes},
        {"bytes_fetched", report.bytes_fetched},
        {"milliseconds", elapsed.count()},
    };
    PrintJson(document);
    return;
  }
  if (options.quiet) {
    return;
  }
  PrintText(
      fmt::format("restored backup {} into \"{}\": {} files, {} in {} ({} fetched)\n"
                  "When PostgreSQL is started there it recovers to {} on timeline {}.\n",
                  plan.backup.label, plan.target_directory, report.files, FormatSize(report.bytes),
                  FormatDuration(elapsed), FormatSize(report.bytes_fetched),
                  DescribeTarget(plan.recovery.target), plan.target_timeline));
}

Result<int> RunRestore(const GlobalOptions& options, const RestoreArguments& arguments) {
  ASSIGN_OR_RETURN(RestoreOptions restore, ParseArguments(arguments));
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(restore.system_identifier));
  // Said explicitly from here on: another system may come to the repository later.
  restore.system_identifier = identity.system_identifier;
  ASSIGN_OR_RETURN(restore.restore_command,
                   MakeRestoreCommand(options, identity.system_identifier));
  if (restore.jobs == 0) {
    // On S3 the threads wait for the network most of the time.
    restore.jobs = config.kind == RepositoryKind::kS3 ? std::max(config.jobs, config.s3_connections)
                                                      : config.jobs;
  }
  ASSIGN_OR_RETURN(const bool right_owner, BecomeOwnerOf(restore.target_directory));
  if (!right_owner && !options.quiet) {
    PrintWarning("restoring as root: give the files to PostgreSQL's user before the server starts");
  }
  ASSIGN_OR_RETURN(const RestorePlan plan, PlanRestore(*repository, restore));

  const Clock& clock = *options.environment.clock;
  const SteadyTime begin = clock.Steady();
  RestoreProgress progress;
  ProgressReporter reporter(clock, options.quiet, [&] {
    return ProgressState{progress.bytes_done, progress.bytes_total,
                         progress.syncing ? "making it durable" : "restoring"};
  });
  const auto report = ExecuteRestore(*repository, plan, progress);
  reporter.Stop();
  if (!report.has_value()) {
    return report.error();
  }
  PrintReport(options, plan, *report,
              std::chrono::duration_cast<std::chrono::milliseconds>(clock.Steady() - begin));
  return kDone;
}

void AddTargetOptions(CLI::App& app, RestoreArguments& arguments) {
  CLI::Option_group* group =
      app.add_option_group("Recovery target", "At most one; without any, all WAL there is");
  group->add_option("--target-time", arguments.time,
                    "Up to a time, for example \"2026-11-22 02:00:00+00\"; local without zone");
  group->add_option("--target-lsn", arguments.lsn, "Up to a position in the WAL");
  group->add_option("--target-xid", arguments.xid, "Up to the end of a transaction");
  group->add_option("--target-name", arguments.name,
                    "Up to a restore point made with pg_create_restore_point()");
  group->add_flag("--target-immediate", arguments.immediate,
                  "Only as far as the backup needs to be consistent");
  group->require_option(0, 1);

  app.add_option("--target-timeline", arguments.timeline,
                 "Timeline to follow: latest, current (the backup's own) or a number")
      ->capture_default_str();
  CLI::Option* inclusive = app.add_flag("--target-inclusive", arguments.inclusive,
                                        "Stop after the time, LSN or transaction (default)");
  app.add_flag("--target-exclusive", arguments.exclusive,
               "Stop before the time, LSN or transaction")
      ->excludes(inclusive);
  app.add_option("--target-action", arguments.action,
                 "At the target: pause (default), promote or shutdown");
}

}  // namespace

Subcommand AddRestore(CLI::App& parent) {
  auto arguments = std::make_shared<RestoreArguments>();
  CLI::App* app =
      parent.add_subcommand("restore", "Restore a backup and prepare recovery to a target");
  app->add_option("--target-dir", arguments->target_directory,
                  "Data directory to create, absent or empty")
      ->required()
      ->type_name("DIR");
  app->add_option("--backup", arguments->backup,
                  "Label of the backup; without it the newest that leads to the target")
      ->type_name("LABEL");
  AddTargetOptions(*app, *arguments);
  app->add_flag("--standby", arguments->standby,
                "Make a standby, which goes on following the archive or a primary");
  app->add_option("--tablespace-map", arguments->tablespace_map,
                  "Put the tablespace at OLD into NEW; may be repeated")
      ->type_name("OLD=NEW")
      ->allow_extra_args(false);
  app->add_option("--jobs", arguments->jobs,
                  "Threads, each with a request in flight; without it as the settings say")
      ->check(CLI::Range(1, 256))
      ->type_name("N");
  app->add_option("--archive-mode", arguments->archive_mode,
                  "off: the copy does not write into the archive of the original; preserve: as it "
                  "was")
      ->check(CLI::IsMember({"off", "preserve"}))
      ->capture_default_str();
  app->add_option("--system-id", arguments->system_id,
                  "System identifier of the cluster, when the repository holds several")
      ->type_name("ID");
  return {app,
          [arguments](const GlobalOptions& options) { return RunRestore(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
