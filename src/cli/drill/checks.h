// What a drill does with the database that it has recovered, each with an outcome of its own.
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
  std::string database{};  // empty: DrillServer::database()
};

// The file is an array of objects with "sql" and, optionally, "min" and "database".
Result<std::vector<SqlCheck>> ReadChecksFile(const std::string& path);

struct CheckOutcome {
  std::string name;  // the SQL, "amcheck", …
  bool passed = false;
  std::string detail;  // the value; or what is wrong
  std::string hint{};  // what to do about it
};

// What a program says about its failure.
std::string ComplaintOf(const ChildOutput& output);
// To what an outcome may hold.
std::string Shortened(std::string text);

// Passed: the first value of the first row is at least `min`; without `min` it is neither null nor
// empty nor false. Errors only for what is no answer: cancellation, no process to be had.
Result<CheckOutcome> RunSqlCheck(const DrillServer& server, const SqlCheck& check);
// Every table and B-tree of the databases, which were entered before.
Result<CheckOutcome> RunAmcheck(const DrillServer& server,
                                const std::vector<std::string>& databases, int jobs);
// Everything, to nowhere.
Result<CheckOutcome> RunDump(const DrillServer& server);
// Of every relation, after the server was stopped cleanly: page checksums, if the cluster has them,
// and whether its visibility maps agree with its pages.
Result<std::vector<CheckOutcome>> RunPageChecks(const DrillServer& server,
                                                const std::string& data_directory, int jobs,
                                                const Environment& environment);

}  // namespace veza::cli
