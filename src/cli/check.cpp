// vezactl check: tests whether the repository is fit for use.
#include "core/monitor/check.h"

#include <algorithm>

#include "cli/command.h"
#include "cli/output.h"
#include "core/monitor/credentials_check.h"
#include "core/monitor/security_check.h"

namespace veza::cli {
namespace {

void PrintRows(const std::vector<CheckResult>& results) {
  Table table({{"check"}, {"result"}, {"detail"}});
  for (const CheckResult& result : results) {
    const char* const passed = result.hint.empty() ? "ok" : "warning";
    table.AddRow({result.name, result.passed ? passed : "failed", result.detail});
  }
  std::string text = table.Format();
  for (const CheckResult& result : results) {
    if (!result.hint.empty()) {
      text += fmt::format("HINT:  {}: {}\n", result.name, result.hint);
    }
  }
  PrintText(text);
}

Json ToJson(const std::vector<CheckResult>& results, bool passed) {
  Json rows = Json::Array();
  for (const CheckResult& result : results) {
    Json row = {{"name", result.name}, {"passed", result.passed}, {"detail", result.detail}};
    if (!result.hint.empty()) {
      row["hint"] = result.hint;
    }
    rows.push_back(std::move(row));
  }
  return {{"passed", passed}, {"checks", std::move(rows)}};
}

Result<int> RunCheck(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  // A person waits for the answer, so retry for a few seconds only.
  ASSIGN_OR_RETURN(const std::shared_ptr<Store> store,
                   Connect(options, config, {.budget = std::chrono::seconds(10)}));
  std::vector<CheckResult> results;
  const auto credentials = CheckCredentialsOf(config, options.environment);
  if (!credentials || credentials->passed) {
    results = CheckRepository(store, OptionsOf(config), options.environment, {},
                              config.looks_before_writes);
    if (results.front().passed) {  // the store answers
      results.push_back(CheckSecurity(config, options.environment));
    }
  }
  if (credentials) {
    results.insert(results.begin(), *credentials);
  }
  RETURN_IF_ERROR(options.environment.cancellation->Check());
  const bool passed = std::ranges::all_of(results, &CheckResult::passed);
  if (options.json) {
    PrintJson(ToJson(results, passed));
  } else if (!options.quiet || !passed) {
    PrintRows(results);
  }
  return passed ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddCheck(Command parent) {
  Command command = parent.AddCommand(
      "check", "Test whether the repository can be reached, written, trusted and decrypted");
  return {command, RunCheck, DefaultExitCode};
}

}  // namespace veza::cli
