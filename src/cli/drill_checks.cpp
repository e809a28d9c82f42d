#include "cli/drill_checks.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace veza::cli {
namespace {

constexpr std::size_t kDetailLimit = 2000;

std::string WithoutLineEnds(std::string text) {
  while (text.ends_with('\n') || text.ends_with('\0')) {
    text.pop_back();
  }
  if (text.size() > kDetailLimit) {
    text.resize(kDetailLimit);
    text += "…";
  }
  return text;
}

// What a program says about its failure.
std::string Complaint(const ChildOutput& output) {
  const std::string text = WithoutLineEnds(output.error.empty() ? output.output : output.error);
  return text.empty() ? fmt::format("exit code {}", output.exit_code) : text;
}

CheckOutcome OutcomeOf(std::string name, const ChildOutput& output, std::string detail) {
  const bool passed = output.exit_code == 0;
  return {std::move(name), passed, passed ? std::move(detail) : Complaint(output)};
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
        value.empty() ? "there is no value" : fmt::format("\"{}\" is no number", value);
  } else if (outcome.passed = number >= *check.min; !outcome.passed) {
    outcome.detail = fmt::format("{} is less than {}", value, *check.min);
  }
  return outcome;
}

Result<SqlCheck> CheckFrom(const nlohmann::json& entry, const std::string& path) {
  const auto wrong = [&](const char* what) {
    return MakeError(ErrorCode::kInvalidArgument, "file \"{}\": {}", path, what)
        .WithHint(R"(Write [{"sql": "SELECT count(*) FROM users", "min": 1, "database": "app"}].)");
  };
  if (!entry.is_object() || !entry.contains("sql") || !entry["sql"].is_string()) {
    return wrong("a check has no \"sql\"");
  }
  SqlCheck check{.sql = entry["sql"].get<std::string>()};
  for (const auto& [name, value] : entry.items()) {
    if (name == "min" && value.is_number()) {
      check.min = value.get<double>();
    } else if (name == "database" && value.is_string()) {
      check.database = value.get<std::string>();
    } else if (name != "sql") {
      return wrong("a check has a member that is not known, or of the wrong type");
    }
  }
  return check;
}

}  // namespace

Result<std::vector<SqlCheck>> ReadChecksFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
  }
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_array()) {
    return MakeError(ErrorCode::kInvalidArgument, "file \"{}\" is not an array in JSON", path)
        .WithHint(R"(Write [{"sql": "SELECT ...", "min": 1, "database": "app"}].)");
  }
  std::vector<SqlCheck> checks;
  for (const nlohmann::json& entry : document) {
    ASSIGN_OR_RETURN(SqlCheck check, CheckFrom(entry, path));
    checks.push_back(std::move(check));
  }
  return checks;
}

Result<CheckOutcome> RunSqlCheck(const DrillServer& server, const SqlCheck& check) {
  ASSIGN_OR_RETURN(const ChildOutput output, server.Query(check.database, check.sql));
  if (output.exit_code != 0) {
    return CheckOutcome{check.sql, false, Complaint(output)};
  }
  return Judge(check, output.output.substr(0, output.output.find('\0')));
}

Result<CheckOutcome> RunAmcheck(const DrillServer& server, int jobs) {
  ASSIGN_OR_RETURN(const ChildOutput output,
                   server.Run("pg_amcheck", {"--all", "--install-missing", "--no-password",
                                             fmt::format("--jobs={}", jobs)}));
  return OutcomeOf("amcheck", output, "no damage in tables and B-trees");
}

Result<CheckOutcome> RunDump(const DrillServer& server) {
  ASSIGN_OR_RETURN(const ChildOutput output,
                   server.Run("pg_dumpall", {"--no-password", "--no-sync", "--file=/dev/null"}));
  return OutcomeOf("dump", output, "everything can be dumped");
}

Result<std::optional<CheckOutcome>> RunChecksums(const DrillServer& server,
                                                 const std::string& data_directory) {
  ASSIGN_OR_RETURN(const std::string version, server.ControlData("Data page checksum version"));
  if (version == "0") {
    return std::optional<CheckOutcome>();
  }
  ASSIGN_OR_RETURN(const ChildOutput output,
                   server.Run("pg_checksums", {"--check", "-D", data_directory}));
  return std::optional(OutcomeOf("page checksums", output, "all pages are good"));
}

}  // namespace veza::cli
