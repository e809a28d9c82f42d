// The checks that a drill runs on the recovered database. Each has an outcome of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/drill/server.h"
#include "core/codec/json.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza::cli {

struct SqlCheck {
  std::string sql;
  std::optional<double> min{};
  std::string database{};  // empty for DrillServer::database()
};

// Reads a JSON array of objects with "sql" and, optionally, "min" and "database".
Result<std::vector<SqlCheck>> ReadChecksFile(const std::string& path);

struct CheckOutcome {
  std::string name;  // the SQL, "amcheck" or another name
  bool passed = false;
  std::string detail;  // the value, or what is wrong
  std::string hint{};  // what to do about it
};

// What a failed program printed about its failure, shortened.
std::string ComplaintOf(const ChildOutput& output);
// Truncates the text to the length that an outcome may have.
std::string Shortened(std::string text);

// Passes when the first value of the first row is at least `min`. Without `min`, when it is neither
// null nor empty nor false. Returns an error only when the query could not be tried: cancellation,
// no process, or no privilege for the query.
Result<CheckOutcome> RunSqlCheck(const DrillServer& server, const SqlCheck& check);
// Checks every table and B-tree of the databases. EnterDatabases() must have run before.
Result<CheckOutcome> RunAmcheck(const DrillServer& server,
                                const std::vector<std::string>& databases, int jobs);
// Dumps everything to /dev/null.
Result<CheckOutcome> RunDump(const DrillServer& server);
// Checks the files of every relation: page checksums, if the cluster has them, and whether the
// visibility maps agree with the pages. The server must have been stopped cleanly.
Result<std::vector<CheckOutcome>> RunPageChecks(const DrillServer& server,
                                                const std::string& data_directory, int jobs,
                                                const Environment& environment);

}  // namespace veza::cli
