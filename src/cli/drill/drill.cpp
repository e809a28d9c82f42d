// vezactl drill: proves that a backup can be restored to a running database.
#include <unistd.h>

#include <memory>
#include <utility>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/drill/metrics.h"
#include "cli/drill/supervisor.h"
#include "cli/metrics_file.h"
#include "cli/output.h"
#include "cli/restore_options.h"
#include "core/repository/connect.h"

namespace veza::cli {
namespace {

constexpr const char* kDefaultUser = "postgres";
constexpr const char* kDefaultBase = "/var/tmp";
constexpr const char* kDefaultCluster = "main";

// The arguments as given.
struct DrillArguments {
  TargetArguments target;
  std::string base = kDefaultBase;
  std::string user;
  std::string metrics_file;
  std::string checks_file;
  std::string system_id;
  bool no_record = false;
  bool no_lease = false;
  DrillOptions drill;
  std::vector<SqlCheck> checks;
};

void PrintOutcome(const DrillOutcome& outcome, const std::string& directory) {
  const DrillRecord& record = outcome.record;
  std::string text = fmt::format("drill of backup {} to {}: {}\n", record.label, record.target,
                                 record.passed ? "passed" : "FAILED");
  if (record.suspect) {
    text += "the backup cannot be trusted, see \"vezactl info\"\n";
  }
  Table table({{"phase"}, {"time", true}});
  for (const char* phase : {"restore", "recovery", "checks", "amcheck", "dump", "checksums"}) {
    if (const auto found = record.phases.find(phase); found != record.phases.end()) {
      table.AddRow({phase, FormatDuration(found->second)});
    }
  }
  text += table.Format();
  if (record.rto) {
    text += fmt::format("{} restored; open after {} (RTO)\n", FormatSize(record.restored_bytes),
                        FormatDuration(*record.rto));
  }
  if (record.rpo) {
    text += fmt::format(
        "the restored data was {} old (RPO); last commit: {}\n", FormatDuration(*record.rpo),
        record.last_commit ? FormatUtc(*record.last_commit) : "none since the backup began");
  }
  for (const CheckOutcome& check : outcome.checks) {
    text += fmt::format("{}: {}: {}\n", check.passed ? "ok" : "failed", check.name, check.detail);
  }
  if (outcome.kept) {
    text += outcome.how_to_connect.empty()
                ? fmt::format("kept in {}; to remove it:\n  rm -rf {}\n", directory, directory)
                : fmt::format(
                      "kept, and running; to connect, as the user that runs it:\n  {}\n"
                      "to stop and remove it:\n  {}\n  rm -rf {}\n",
                      outcome.how_to_connect, outcome.how_to_stop, directory);
  }
  PrintText(text);
}

void Show(const GlobalOptions& options, const DrillOutcome& outcome, const std::string& directory) {
  if (outcome.error && (!options.json || outcome.interrupted)) {
    PrintError(*outcome.error);
  }
  if (options.json) {
    Json document = DrillToJson(outcome.record);
    document.erase("format");
    document["checks"] = Json::Array();
    for (const CheckOutcome& check : outcome.checks) {
      document["checks"].push_back(
          {{"name", check.name}, {"passed", check.passed}, {"detail", check.detail}});
      if (!check.hint.empty()) {
        document["checks"].back()["hint"] = check.hint;
      }
    }
    document["record"] = outcome.record_name;
    if (outcome.error) {
      document["error"] = ErrorToJson(*outcome.error);
    } else {
      document.erase("error");
    }
    if (outcome.kept) {
      document["directory"] = directory;
      document["connect"] = outcome.how_to_connect;
      document["stop"] = outcome.how_to_stop;
    }
    PrintJson(document);
  } else if (!outcome.record.label.empty() && !outcome.interrupted &&
             (!options.quiet || outcome.exit_code != kDone || outcome.kept)) {
    PrintOutcome(outcome, directory);
  }
}

Status WriteMetrics(const std::string& path, const std::string& cluster,
                    const DrillReport& report) {
  if (path.empty() || report.interrupted) {
    return Ok();
  }
  return ReplaceMetrics(path, [&](std::string_view before) {
    return FormatDrillMetrics(cluster, report.record, report.last_passed, before);
  });
}

struct Prepared {
  Account account;
  std::string base;
  DrillOptions drill;
};

Result<Prepared> Prepare(const DrillArguments& arguments) {
  Prepared prepared;
  prepared.drill = arguments.drill;
  prepared.drill.checks = arguments.checks;
  prepared.drill.record = !arguments.no_record;
  prepared.drill.lease = !arguments.no_lease;
  if (!arguments.checks_file.empty()) {
    ASSIGN_OR_RETURN(std::vector<SqlCheck> checks, ReadChecksFile(arguments.checks_file));
    std::move(checks.begin(), checks.end(), std::back_inserter(prepared.drill.checks));
  }
  ASSIGN_OR_RETURN(prepared.drill.restore.target, ParseTarget(arguments.target));
  ASSIGN_OR_RETURN(prepared.drill.restore.system_identifier, ParseSystemId(arguments.system_id));
  if (prepared.drill.preload.find("veza_backup") != std::string::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "--preload must not name veza_backup")
        .WithHint("WAL replay does not need it. Remove it from --preload.");
  }
  if (!prepared.drill.pg_bin.empty()) {
    ASSIGN_OR_RETURN(prepared.drill.pg_bin, AbsolutePath(prepared.drill.pg_bin));
  }
  for (std::string& path : prepared.drill.readable) {
    ASSIGN_OR_RETURN(path, AbsolutePath(path));
  }
  ASSIGN_OR_RETURN(prepared.base, AbsolutePath(arguments.base));
  ASSIGN_OR_RETURN(
      prepared.account,
      ChooseAccount(arguments.user.empty() && geteuid() == 0 ? kDefaultUser : arguments.user));
  return prepared;
}

Result<int> RunDrillCommand(const GlobalOptions& given, const DrillArguments& arguments) {
  // The drill works in another directory, so relative paths must be resolved now.
  GlobalOptions options = given;
  ASSIGN_OR_RETURN(options.config_file, AbsolutePath(given.config_file));
  const TimePoint started = options.environment.clock->Now();
  std::string cluster = kDefaultCluster;
  Result<DrillReport> report = [&]() -> Result<DrillReport> {
    ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
    cluster = config.cluster;
    ASSIGN_OR_RETURN(Prepared prepared, Prepare(arguments));
    return SuperviseDrill(options, prepared.account, prepared.base, std::move(prepared.drill),
                          Show);
  }();
  DrillReport known;
  if (report) {
    known = *report;
  } else {
    known.record.started = started;
    known.record.finished = options.environment.clock->Now();
  }
  const Status metrics = WriteMetrics(arguments.metrics_file, cluster, known);
  if (!metrics && report) {
    PrintError(metrics.error());
    return report->exit_code == kDone ? kFailed : report->exit_code;
  }
  RETURN_IF_ERROR(report);
  return report->exit_code;
}

void AddCheckOptions(Command command, DrillArguments& arguments) {
  // --min and --database belong to the --check before them.
  const auto change_last = [&arguments](const std::function<void(SqlCheck&)>& change) -> Status {
    if (arguments.checks.empty()) {
      return MakeError(ErrorCode::kInvalidArgument, "must follow the --check that it belongs to");
    }
    change(arguments.checks.back());
    return Ok();
  };
  command
      .AddEach(
          "--check",
          [&arguments](const std::string& sql) {
            arguments.checks.push_back({.sql = sql});
            return Ok();
          },
          "Query whose first value must not be null, empty or false; may be repeated")
      .TypeName("SQL");
  command
      .AddEach(
          "--min",
          [change_last](double min) {
            return change_last([min](SqlCheck& check) { check.min = min; });
          },
          "Smallest allowed value of the preceding --check")
      .TypeName("N");
  command
      .AddEach(
          "--database",
          [change_last](const std::string& name) {
            return change_last([&name](SqlCheck& check) { check.database = name; });
          },
          "Database of the preceding --check; default: postgres, or another if it does not exist")
      .TypeName("DB");
  command
      .Add("--checks-file", arguments.checks_file,
           "File with more checks: a JSON array of objects with sql, min and database")
      .TypeName("FILE");
  command.AddFlag("--amcheck", arguments.drill.amcheck,
                  "Check every table and B-tree (pg_amcheck)");
  command.AddFlag("--dump", arguments.drill.dump,
                  "Dump all databases with pg_dumpall, and discard the output");
}

}  // namespace

Subcommand AddDrill(Command parent) {
  auto arguments = std::make_shared<DrillArguments>();
  arguments->drill.role = "postgres";
  arguments->drill.timeout_seconds = 21600;
  Command command = parent.AddCommand(
      "drill", "Prove that a backup can be restored: restore, recover, check, throw away");
  AddBackupOption(command, arguments->drill.restore.backup_label);
  AddTargetOptions(command, arguments->target);
  AddCheckOptions(command, *arguments);
  command
      .Add("--directory", arguments->base,
           "Where to make the throw-away directory; it needs as much space as the cluster")
      .TypeName("DIR")
      .ShowsDefault();
  command
      .Add("--pg-bin", arguments->drill.pg_bin,
           "Directory of PostgreSQL's programs; default: those of the backup's version")
      .TypeName("DIR");
  command
      .Add("--preload", arguments->drill.preload,
           "Setting shared_preload_libraries, for libraries that WAL replay needs")
      .TypeName("LIBRARIES");
  command
      .Add("--user", arguments->user,
           "Operating system user that runs PostgreSQL when root runs vezactl; default: postgres")
      .TypeName("NAME");
  command.Add("--role", arguments->drill.role, "Superuser of the cluster to connect as")
      .TypeName("NAME")
      .ShowsDefault();
  command
      .Add("--check-role", arguments->drill.check_role,
           "Role that runs the queries of --check; default: a new role that may read everything "
           "and is no superuser")
      .TypeName("NAME");
  AddJobsOption(command, arguments->drill.restore.jobs);
  command
      .Add("--timeout", arguments->drill.timeout_seconds,
           "Let the drill fail if it takes longer; 0 for no limit")
      .Range(0, 30 * 86400)
      .TypeName("SECONDS")
      .ShowsDefault();
  command
      .Add("--metrics-file", arguments->metrics_file,
           "Write metrics to this file, for node_exporter's textfile collector")
      .TypeName("FILE");
  command.AddFlag("--keep", arguments->drill.keep, "Leave the restored server running");
  command.AddFlag(
      "--allow-unconfined", arguments->drill.allow_unconfined,
      "Run even if the kernel cannot keep the restored server away from other files or "
      "the network. Use it only where the user that runs PostgreSQL cannot write to the files of "
      "another server");
  command
      .Add("--readable", arguments->drill.readable,
           "File or directory that the restored server may read, besides its own directory and "
           "the system's programs and libraries; may be repeated")
      .TypeName("PATH");
  command.AddFlag(
      "--no-lease", arguments->no_lease,
      "Take no lease. A lease keeps retention from removing the backup and its WAL during the "
      "drill");
  command.AddFlag("--no-record", arguments->no_record, "Do not store the result in the repository");
  AddSystemIdOption(command, arguments->system_id);
  command.SetFooter(
      "Exit codes: 0 the drill passed; 1 it failed: the backup, its recovery or a check is bad;\n"
      "2 it could not take place. A drill that is interrupted is not recorded.");
  return {
      command,
      [arguments](const GlobalOptions& options) { return RunDrillCommand(options, *arguments); },
      DefaultExitCode};
}

}  // namespace veza::cli
