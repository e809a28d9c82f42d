// What a drill does with the database that it has recovered, each with an outcome of its own.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/drill_server.h"
#include "core/error.h"

namespace veza::cli {

struct SqlCheck {
  std::string sql;
  std::optional<double> min{};
  std::string database = "postgres";
};

// The file is an array of objects with "sql" and, optionally, "min" and "database".
Result<std::vector<SqlCheck>> ReadChecksFile(const std::string& path);

struct CheckOutcome {
  std::string name;  // the SQL, "amcheck", …
  bool passed = false;
  std::string detail;  // the value; or what is wrong
};

// Passed: the first value of the first row is at least `min`; without `min` it is neither null nor
// empty nor false. Errors only for what is no answer: cancellation, no process to be had.
Result<CheckOutcome> RunSqlCheck(const DrillServer& server, const SqlCheck& check);
// Every table and B-tree of every database.
Result<CheckOutcome> RunAmcheck(const DrillServer& server, int jobs);
// Everything, to nowhere.
Result<CheckOutcome> RunDump(const DrillServer& server);
// Of every relation; the server is stopped. Nothing when the cluster has no checksums.
Result<std::optional<CheckOutcome>> RunChecksums(const DrillServer& server,
                                                 const std::string& data_directory);

}  // namespace veza::cli
