#include "cli/drill/checks.h"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/codec/json.h"
#include "core/storage/file_io.h"
#include "core/verify/data_files.h"

namespace veza::cli {
namespace {

constexpr std::size_t kDetailLimit = 2000;
constexpr std::size_t kShownFindings = 10;
// A message of the server. It is in English because CleanEnvironment() sets LC_ALL=C.
constexpr std::string_view kMayNot = "ERROR:  permission denied";
constexpr std::string_view kNotAvailable = "extension \"amcheck\" is not available";
constexpr std::string_view kChecksumsOn = "1";  // PG_DATA_CHECKSUM_VERSION

// A check that failed. strerror()'s "Permission denied" in the complaint means that PostgreSQL
// could not open a file, which the confinement may be the cause of.
CheckOutcome FailedCheck(std::string name, std::string complaint) {
  const bool confined = complaint.find("Permission denied") != std::string::npos;
  return {std::move(name), false, std::move(complaint), confined ? kReadableHint : ""};
}

CheckOutcome OutcomeOf(std::string name, const ChildOutput& output, std::string detail) {
  if (output.exit_code != 0) {
    return FailedCheck(std::move(name), ComplaintOf(output));
  }
  return {std::move(name), true, std::move(detail)};
}

// The name as a connection string, for options that take one in place of a name.
std::string NameForConnection(const std::string& database) {
  std::string text = "dbname='";
  for (const char c : database) {
    if (c == '\'' || c == '\\') {
      text += '\\';
    }
    text += c;
  }
  return text + "'";
}

Result<std::uint32_t> NumberFrom(const DrillServer& server, const char* line) {
  ASSIGN_OR_RETURN(const std::string text, server.ControlData(line));
  std::uint32_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  if (number == 0) {
    return MakeError(ErrorCode::kUnsupported, "pg_controldata reports \"{}\" as \"{}\"", line,
                     text);
  }
  return number;
}

// Describes the first findings: those about checksums, or all others.
std::string FirstFindings(const DataFilesReport& report, bool of_checksums) {
  std::string text;
  std::size_t shown = 0;
  for (const DataFileFinding& finding : report.findings) {
    if ((finding.kind == DataFileFinding::Kind::kChecksum) == of_checksums &&
        shown < kShownFindings) {
      text += (shown == 0 ? "" : "; ") + DescribeFinding(finding);
      ++shown;
    }
  }
  return text;
}

CheckOutcome JudgeChecksums(const DataFilesReport& report) {
  if (report.bad_checksums == 0) {
    return {"page checksums", true, fmt::format("all {} pages are good", report.pages)};
  }
  return {"page checksums", false,
          fmt::format("{} of {} pages are damaged: {}", report.bad_checksums, report.pages,
                      FirstFindings(report, true)),
          "Compare with the original. To find the relation, run pg_filenode_relation(TABLESPACE, "
          "FILENODE) in the database whose OID is the directory's name. If the original is good, "
          "take a full backup and have the store examined."};
}

CheckOutcome JudgeMaps(const DataFilesReport& report) {
  if (report.bad_maps == 0) {
    return {"visibility maps", true,
            fmt::format("all {} blocks that the maps call all-visible are marked all-visible",
                        report.mapped)};
  }
  return {
      "visibility maps", false,
      fmt::format("{} of {} blocks that the maps call all-visible are not marked all-visible, and "
                  "index-only scans will return wrong results: {}",
                  report.bad_maps, report.mapped, FirstFindings(report, false)),
      "Take a full backup and drill it. If that drill fails as well, the original is damaged. "
      "VACUUM (DISABLE_PAGE_SKIPPING) in the database repairs the original, and also a server that "
      "was restored from this backup."};
}

CheckOutcome Judge(const SqlCheck& check, const std::string& value) {
  CheckOutcome outcome{check.sql, false, value};
  if (!check.min) {
    outcome.passed = !value.empty() && value != "f" && value != "false";
    if (!outcome.passed) {
      outcome.detail = value.empty() ? "there is no value" : "the value is false";
    }
    return outcome;
  }
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != '\0') {
    outcome.detail =
        value.empty() ? "there is no value" : fmt::format("\"{}\" is not a number", value);
  } else if (outcome.passed = number >= *check.min; !outcome.passed) {
    outcome.detail = fmt::format("{} is less than {}", value, *check.min);
  }
  return outcome;
}

Result<SqlCheck> CheckFrom(const Json& entry, const std::string& path) {
  const auto wrong = [&](const char* what) {
    return MakeError(ErrorCode::kInvalidArgument, "file \"{}\": {}", path, what)
        .WithHint(R"(Write [{"sql": "SELECT count(*) FROM users", "min": 1, "database": "app"}].)");
  };
  const std::optional<std::string> sql = StringMember(entry, "sql");
  if (!sql) {
    return wrong("a check has no \"sql\"");
  }
  SqlCheck check{.sql = *sql};
  for (const auto& [name, value] : entry.members()) {
    if (name == "min" && value.is_number()) {
      check.min = *value.AsDouble();
    } else if (name == "database" && value.is_text()) {
      check.database = *value.AsText();
    } else if (name != "sql") {
      return wrong("a check has an unknown member, or one of the wrong type");
    }
  }
  return check;
}

}  // namespace

std::string ComplaintOf(const ChildOutput& output) {
  std::string text = output.error.empty() ? output.output : output.error;
  while (text.ends_with('\n') || text.ends_with('\0')) {
    text.pop_back();
  }
  return text.empty() ? fmt::format("exit code {}", output.exit_code) : Shortened(std::move(text));
}

std::string Shortened(std::string text) {
  if (text.size() > kDetailLimit) {
    text.resize(kDetailLimit);
    text += "…";
  }
  return text;
}

Result<std::vector<SqlCheck>> ReadChecksFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  const Json document = ParseJson(text).value_or(Json());
  if (!document.is_array()) {
    return MakeError(ErrorCode::kInvalidArgument, "file \"{}\" is not a JSON array", path)
        .WithHint(R"(Write [{"sql": "SELECT ...", "min": 1, "database": "app"}].)");
  }
  std::vector<SqlCheck> checks;
  for (const Json& entry : document) {
    ASSIGN_OR_RETURN(SqlCheck check, CheckFrom(entry, path));
    checks.push_back(std::move(check));
  }
  return checks;
}

Result<CheckOutcome> RunSqlCheck(const DrillServer& server, const SqlCheck& check) {
  ASSIGN_OR_RETURN(const ChildOutput output,
                   server.Query(check.database.empty() ? server.database() : check.database,
                                check.sql, DrillServer::Asker::kOperator));
  if (output.exit_code != 0) {
    const std::string complaint = ComplaintOf(output);
    if (complaint.find(kMayNot) != std::string::npos) {
      // The missing privilege says nothing about the backup.
      return MakeError(ErrorCode::kUnsupported, "check \"{}\" lacks a privilege: {}", check.sql,
                       complaint)
          .WithHint(
              "Use --check-role to name a role that has it. The query may call functions that "
              "belong to the databases' owners, and these then run with the privileges of that "
              "role. So you must trust the owners.");
    }
    return FailedCheck(check.sql, complaint);
  }
  return Judge(check, output.output.substr(0, output.output.find('\0')));
}

// pg_amcheck calls functions in the extension's schema, as a superuser. Where others may create
// functions in that schema, a function of theirs with a better match of arguments would be called
// instead. So the extension is moved to pg_catalog, where only superusers can create functions. An
// old version of the extension is updated, because it lacks functions that pg_amcheck calls. Only
// --heapallindexed would run code of users (index expressions), and it is not used.
Result<CheckOutcome> RunAmcheck(const DrillServer& server,
                                const std::vector<std::string>& databases, int jobs) {
  for (const std::string& database : databases) {
    ASSIGN_OR_RETURN(const ChildOutput installed,
                     server.Query(database,
                                  "CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA pg_catalog; "
                                  "ALTER EXTENSION amcheck SET SCHEMA pg_catalog; "
                                  "ALTER EXTENSION amcheck UPDATE"));
    if (installed.error.find(kNotAvailable) != std::string::npos) {
      return MakeError(ErrorCode::kUnsupported,
                       "the extension amcheck of PostgreSQL is not installed here")
          .WithHint("Install PostgreSQL's contrib package of that version, or omit --amcheck.");
    }
    if (installed.exit_code != 0) {
      return CheckOutcome{"amcheck", false,
                          fmt::format("database \"{}\": {}", database, ComplaintOf(installed))};
    }
  }
  ASSIGN_OR_RETURN(
      const ChildOutput output,
      server.Run("pg_amcheck", {"--all", "--maintenance-db=" + NameForConnection(server.database()),
                                "--no-password", fmt::format("--jobs={}", jobs)}));
  return OutcomeOf("amcheck", output, "no damage in tables and B-trees");
}

Result<CheckOutcome> RunDump(const DrillServer& server) {
  ASSIGN_OR_RETURN(const ChildOutput output,
                   server.Run("pg_dumpall", {"--database=" + NameForConnection(server.database()),
                                             "--no-password", "--no-sync", "--file=/dev/null"}));
  return OutcomeOf("dump", output, "all databases can be dumped");
}

Result<std::vector<CheckOutcome>> RunPageChecks(const DrillServer& server,
                                                const std::string& data_directory, int jobs,
                                                const Environment& environment) {
  DataFilesOptions options;
  options.walk.data_directory = data_directory;
  options.walk.tablespaces = server.Tablespaces();
  options.walk.postgres_major = server.major();
  ASSIGN_OR_RETURN(const std::string catalog, server.ControlData("Catalog version number"));
  options.walk.tablespace_version_directory = fmt::format("PG_{}_{}", server.major(), catalog);
  ASSIGN_OR_RETURN(options.block_size, NumberFrom(server, "Database block size"));
  ASSIGN_OR_RETURN(options.segment_blocks,
                   NumberFrom(server, "Blocks per segment of large relation"));
  ASSIGN_OR_RETURN(const std::string checksums, server.ControlData("Data page checksum version"));
  options.has_checksums = checksums == kChecksumsOn;
  options.jobs = jobs;
  ASSIGN_OR_RETURN(const DataFilesReport report, CheckDataFiles(options, environment));
  std::vector<CheckOutcome> outcomes;
  if (options.has_checksums) {
    outcomes.push_back(JudgeChecksums(report));
  }
  outcomes.push_back(JudgeMaps(report));
  return outcomes;
}

}  // namespace veza::cli
