#include "cli/drill/databases.h"

#include <cstdlib>

#include "cli/output.h"

namespace veza::cli {
namespace {

// Messages of the server. They are in English because CleanEnvironment() sets LC_ALL=C.
constexpr std::string_view kOfRole = "FATAL:  role \"";
constexpr std::string_view kNoSuchRole = "ERROR:  role \"";  // from GRANT
constexpr std::string_view kNoPermission = "permission denied";

// The values, which zero bytes separate.
std::vector<std::string> Values(const std::string& output) {
  std::vector<std::string> values;
  for (std::size_t at = 0; at < output.size();) {
    const std::size_t end = std::min(output.find('\0', at), output.size());
    values.push_back(output.substr(at, end - at));
    at = end + 1;
  }
  return values;
}

// A name that no role or database can have yet.
std::string NewName(Random& random) {
  Bytes unique(8);
  random.Fill(unique);
  return "veza_drill_" + ToHex(unique);
}

// The error when the drill's role cannot query. It is kUnsupported when the role is missing, may
// not log in or is no superuser, because that says nothing about the backup.
Error CannotAsk(const DrillServer& server, const std::string& complaint) {
  const bool of_role = complaint.find(kOfRole) != std::string::npos ||
                       complaint.find(kNoPermission) != std::string::npos;
  return MakeError(of_role ? ErrorCode::kUnsupported : ErrorCode::kFailedPrecondition,
                   "could not query the restored server as role \"{}\": {}", server.role(),
                   complaint)
      .WithHint("Use --role to name a superuser of the cluster that may log in.");
}

}  // namespace

Result<FirstAnswer> AskAny(const DrillServer& server, const std::vector<std::string>& databases,
                           const std::string& sql) {
  std::string complaint;
  for (const std::string& database : databases) {
    ASSIGN_OR_RETURN(ChildOutput answer, server.Query(database, sql));
    if (answer.exit_code == 0) {
      return FirstAnswer{database, Values(answer.output)};
    }
    if (complaint.empty()) {
      complaint = ComplaintOf(answer);
    }
  }
  return CannotAsk(server, complaint);
}

Status ForgetSettings(const DrillServer& server) {
  ASSIGN_OR_RETURN(const ChildOutput answer,
                   server.Query(server.database(), "DELETE FROM pg_catalog.pg_db_role_setting"));
  return answer.exit_code == 0 ? Ok() : Status(CannotAsk(server, ComplaintOf(answer)));
}

// The count tells whether the output is complete. A connection limit of -2 marks a database that an
// interrupted DROP DATABASE has left.
Result<std::vector<std::string>> ListDatabases(const DrillServer& server) {
  ASSIGN_OR_RETURN(const ChildOutput answer,
                   server.Query(server.database(),
                                "SELECT count(*) OVER (), datname FROM pg_catalog.pg_database "
                                "WHERE datallowconn AND datconnlimit <> -2 ORDER BY oid"));
  if (answer.exit_code != 0) {
    return CannotAsk(server, ComplaintOf(answer));
  }
  const std::vector<std::string> values = Values(answer.output);
  std::vector<std::string> names;
  for (std::size_t i = 1; i < values.size(); i += 2) {
    names.push_back(values[i]);
  }
  if (names.empty() || names.size() != std::strtoull(values[0].c_str(), nullptr, 10)) {
    return MakeError(ErrorCode::kInternal, "could not read the list of databases");
  }
  return names;
}

// Removes connection limits as well, because they apply to roles that are no superusers.
Result<std::string> MakeReader(const DrillServer& server, Random& random) {
  std::string role = NewName(random);
  ASSIGN_OR_RETURN(
      const ChildOutput answer,
      server.Query(server.database(),
                   fmt::format("CREATE ROLE {} LOGIN BYPASSRLS IN ROLE pg_read_all_data, "
                               "pg_monitor; UPDATE pg_catalog.pg_database SET datconnlimit = -1 "
                               "WHERE datconnlimit >= 0",
                               role)));
  if (answer.exit_code != 0) {
    return CannotAsk(server, ComplaintOf(answer));
  }
  return role;
}

Result<CheckOutcome> EnterDatabases(const DrillServer& server,
                                    const std::vector<std::string>& databases) {
  CheckOutcome outcome{
      "databases", true,
      fmt::format("connected to all {} databases that allow connections", databases.size())};
  std::size_t failed = 0;
  std::string complaints;
  for (const std::string& database : databases) {
    ASSIGN_OR_RETURN(
        const ChildOutput answer,
        server.Query(database,
                     fmt::format("UPDATE pg_catalog.pg_event_trigger SET evtenabled = 'D'; "
                                 "GRANT CONNECT ON DATABASE {} TO {}",
                                 QuoteIdentifier(database), QuoteIdentifier(server.reader()))));
    if (answer.error.find(kNoSuchRole) != std::string::npos) {
      return MakeError(ErrorCode::kUnsupported, "there is no role \"{}\" in the restored cluster",
                       server.reader())
          .WithHint("Use --check-role to name another role, or omit the option.");
    }
    if (answer.exit_code != 0) {
      ++failed;
      complaints += fmt::format("; database \"{}\": {}", database, ComplaintOf(answer));
    }
  }
  if (failed != 0) {
    outcome.passed = false;
    outcome.detail =
        Shortened(fmt::format("could not connect to {} of {} databases that allow connections{}",
                              failed, databases.size(), complaints));
    outcome.hint =
        "Try to connect to them on the original. If that works, their files in the backup "
        "are missing or damaged: take a full backup and drill it.";
  }
  return outcome;
}

Status RollBackPrepared(const DrillServer& server) {
  ASSIGN_OR_RETURN(const ChildOutput answer,
                   server.Query(server.database(),
                                "SELECT database, 'ROLLBACK PREPARED ' || quote_literal(gid) "
                                "FROM pg_catalog.pg_prepared_xacts"));
  if (answer.exit_code != 0) {
    return CannotAsk(server, ComplaintOf(answer));
  }
  const std::vector<std::string> values = Values(answer.output);
  for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
    // In a database that cannot be entered the transaction stays. Nobody will wait for it there.
    RETURN_IF_ERROR(server.Query(values[i], values[i + 1]));
  }
  return Ok();
}

Status RenameForDump(const DrillServer& server, const std::vector<std::string>& databases,
                     Random& random) {
  for (const std::string& database : databases) {
    // A session cannot rename its own database.
    if (database.find_first_of("\r\n") != std::string::npos && database != server.database()) {
      // If renaming fails, the dump will report it.
      RETURN_IF_ERROR(
          server.Query(server.database(), fmt::format("ALTER DATABASE {} RENAME TO {}",
                                                      QuoteIdentifier(database), NewName(random))));
    }
  }
  return Ok();
}

}  // namespace veza::cli
