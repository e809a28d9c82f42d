#include "cli/restore_report.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>

#include "cli/output.h"
#include "core/backup/suspect_diff.h"
#include "core/restore/recovery_settings.h"
#include "core/restore/target_time.h"

namespace veza::cli {
namespace {

Json ToJson(const std::vector<DatabaseSummary>& databases) {
  Json array = Json::Array();
  for (const DatabaseSummary& database : databases) {
    array.push_back({{"oid", database.oid}, {"name", database.name}, {"bytes", database.size}});
  }
  return array;
}

void AddDatabases(const RestorePlan& plan, Json& document) {
  if (plan.databases) {
    document["databases"] = {{"restored", ToJson(plan.databases->restored)},
                             {"empty", ToJson(plan.databases->empty)}};
  }
}

// The settings for which recovery demands at least the values of the backed-up server
// (CheckRequiredParameterValues in xlogrecovery.c). The backup does not know settings that had
// their default.
std::map<std::string, std::string> LimitsOf(const BackupSummary& backup) {
  std::map<std::string, std::string> limits;
  for (const char* const name :
       {"max_connections", "max_locks_per_transaction", "max_prepared_transactions",
        "max_wal_senders", "max_worker_processes"}) {
    if (const auto setting = backup.settings.find(name); setting != backup.settings.end()) {
      limits.insert(*setting);
    }
  }
  return limits;
}

// Only for a server whose configuration files were outside its data directory, so that no backup
// contains them.
std::string DescribeLimits(const RestorePlan& plan) {
  const std::map<std::string, std::string> limits = LimitsOf(plan.backup);
  if (limits.empty() || access((plan.target_directory + "/postgresql.conf").c_str(), F_OK) == 0) {
    return "";
  }
  std::string list;
  for (const auto& [name, value] : limits) {
    list += fmt::format("{}{} = {}", list.empty() ? "" : ", ", name, value);
  }
  return fmt::format(
      "The server's configuration is not in the backup. Recovery needs at least {}.\n", list);
}

Json ToJson(const std::optional<IndexedEnd>& commit) {
  if (!commit) {
    return {};
  }
  return {
      {"xid", commit->xid}, {"lsn", FormatLsn(commit->begin)}, {"time", FormatUtc(commit->time)}};
}

std::string DescribeOrNone(const std::optional<IndexedEnd>& commit, const char* none) {
  return commit ? DescribeCommit(*commit) : none;
}

// With which transaction recovery ends.
std::string DescribeEnding(const RestorePlan& plan) {
  const Ending& ending = plan.ending;
  if (!ending.unknown.empty()) {
    return fmt::format("last in       not known: {}\n", ending.unknown);
  }
  std::string text = fmt::format(
      "last in       {}\n"
      "first out     {}\n",
      DescribeOrNone(ending.last_in, "no commit since the backup began"),
      DescribeOrNone(ending.first_out,
                     ending.looked_behind ? "none" : "whatever was committed after the backup"));
  if (ending.stop.end && !ending.stop.end->committed) {
    text += fmt::format("stops at      the end of transaction {}, aborted at \"{}\" (LSN {})\n",
                        ending.stop.end->xid, FormatTargetTime(ending.stop.end->time),
                        FormatLsn(ending.stop.end->begin));
  }
  if (ending.stop.restore_point) {
    text += fmt::format("stops at      the restore point at LSN {}\n",
                        FormatLsn(*ending.stop.restore_point));
  }
  return text;
}

// The members that the report and the plan have in common.
void AddToBoth(const RestorePlan& plan, Json& document) {
  AddDatabases(plan, document);
  if (!plan.missing_segment.empty()) {
    document["missing_segment"] = plan.missing_segment;
  }
  document["required_settings"] = LimitsOf(plan.backup);
  if (plan.ending.unknown.empty()) {
    document["last_in"] = ToJson(plan.ending.last_in);
    if (plan.ending.looked_behind) {
      document["first_out"] = ToJson(plan.ending.first_out);
    }
  } else {
    document["ending_unknown"] = plan.ending.unknown;
  }
  if (const std::string suspect = SuspectDiff(plan.backup); !suspect.empty()) {
    document["suspect"] = suspect;
  }
  AddNotes(plan.backup.notes, document);
  if (!plan.wal_directory.empty()) {
    document["wal_directory"] = plan.wal_directory;
  }
}

// Symbolic links are restored as plain directories and files. Only pg_wal may become a link again.
std::string DescribeLinks(const RestorePlan& plan) {
  const WalkNotes& notes = plan.backup.notes;
  std::string text;
  for (const FollowedLink& link : notes.links) {
    if (link.path != "pg_wal" || plan.wal_directory.empty()) {
      text += fmt::format("    {} to {}\n", link.path, link.target);
    }
  }
  if (notes.links_count > notes.links.size()) {
    text += fmt::format("    and {} more\n", notes.links_count - notes.links.size());
  }
  return text.empty()
             ? ""
             : "These were symbolic links, and become plain directories and files:\n" + text;
}

std::string ListDatabases(const std::vector<DatabaseSummary>& databases) {
  std::string list;
  for (const DatabaseSummary& database : databases) {
    list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", QuoteIdentifier(database.name),
                        FormatSize(database.size));
  }
  return list.empty() ? "none" : list;
}

// Empty when all databases are restored.
std::string DescribeDatabases(const RestorePlan& plan) {
  return plan.databases ? fmt::format("databases     {}\nleft empty    {}\n",
                                      ListDatabases(plan.databases->restored),
                                      ListDatabases(plan.databases->empty))
                        : "";
}

// What happens to the databases that are not restored.
std::string DescribeDropping(const RestorePlan& plan) {
  if (!plan.databases || plan.databases->empty.empty()) {
    return "";
  }
  std::string text =
      "This is not the whole cluster, so it must not replace the original.\n"
      "When the server is open for writing, veza_backup drops the empty databases, if it is in\n"
      "shared_preload_libraries. Otherwise run\n";
  for (const DatabaseSummary& database : plan.databases->empty) {
    text += fmt::format("    DROP DATABASE {} WITH (FORCE);\n", QuoteIdentifier(database.name));
  }
  return text + "    ALTER SYSTEM RESET ignore_invalid_pages;\n";
}

}  // namespace

void PrintReport(const GlobalOptions& options, const RestorePlan& plan, const RestoreReport& report,
                 std::chrono::milliseconds elapsed) {
  if (options.json) {
    Json document = {
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
    AddToBoth(plan, document);
    PrintJson(document);
    return;
  }
  if (options.quiet) {
    return;
  }
  const std::string text = fmt::format(
      "restored backup {} into \"{}\": {} files, {} in {} ({} fetched)\n"
      "When PostgreSQL is started there it recovers to {} on timeline {}.\n",
      plan.backup.label, plan.target_directory, report.files, FormatSize(report.bytes),
      FormatDuration(elapsed), FormatSize(report.bytes_fetched),
      DescribeTarget(plan.recovery.target), plan.target_timeline);
  const std::string left_out =
      report.files_left_out == 0
          ? ""
          : fmt::format("left out {} of unlogged relations that were being made\n",
                        report.files_left_out == 1
                            ? "1 file"
                            : fmt::format("{} files", report.files_left_out));
  PrintText(text + left_out + DescribeEnding(plan) + DescribeLimits(plan) + DescribeLinks(plan) +
            DescribeDatabases(plan) + DescribeDropping(plan));
}

void PrintPlan(const GlobalOptions& options, const RestorePlan& plan) {
  const BackupSummary& backup = plan.backup;
  std::uint64_t in_tablespaces = 0;
  for (const Tablespace& tablespace : plan.tablespaces) {
    in_tablespaces += tablespace.size;
  }
  const std::uint64_t in_target = plan.size - std::min(plan.size, in_tablespaces);
  const std::string settings = RewriteAutoConf("", plan.recovery);
  if (options.json) {
    Json tablespaces = Json::Array();
    for (const Tablespace& tablespace : plan.tablespaces) {
      tablespaces.push_back({{"path", tablespace.path}, {"bytes", tablespace.size}});
    }
    Json document = {{"dry_run", true},
                     {"label", backup.label},
                     {"target_directory", plan.target_directory},
                     {"bytes", in_target},
                     {"tablespaces", std::move(tablespaces)},
                     {"files", backup.files},
                     {"start_wal", backup.start_wal},
                     {"stop_wal", backup.stop_wal},
                     {"target", DescribeTarget(plan.recovery.target)},
                     {"target_timeline", plan.target_timeline},
                     {"signal_file", SignalFileName(plan.recovery)},
                     {"settings", settings}};
    if (plan.delta) {
      document["replaced_places"] = plan.replaced_places;
    }
    AddToBoth(plan, document);
    PrintJson(document);
    return;
  }
  std::string text = fmt::format(
      "backup        {}, of {}\n"
      "into          \"{}\": {} files in all, {} here\n",
      backup.label, FormatUtc(backup.stop_time), plan.target_directory, backup.files,
      FormatSize(in_target));
  for (const Tablespace& tablespace : plan.tablespaces) {
    text += fmt::format("tablespace    \"{}\": {}\n", tablespace.path, FormatSize(tablespace.size));
  }
  if (!plan.wal_directory.empty()) {
    text += fmt::format("pg_wal        a link to \"{}\"\n", plan.wal_directory);
  }
  for (const std::string& place : plan.replaced_places) {
    text += fmt::format("replaced      what is in \"{}\"\n", place);
  }
  text += DescribeDatabases(plan);
  text += fmt::format(
      "WAL           from {} on; up to {} to become consistent\n"
      "recovery      to {} on timeline {}\n"
      "{}"
      "signal file   {}\n"
      "postgresql.auto.conf gets\n{}"
      "Nothing was written.\n",
      backup.start_wal, backup.stop_wal, DescribeTarget(plan.recovery.target), plan.target_timeline,
      DescribeEnding(plan), SignalFileName(plan.recovery), settings);
  PrintText(text + DescribeLinks(plan));
}

}  // namespace veza::cli
