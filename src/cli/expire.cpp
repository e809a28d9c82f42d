// vezactl expire: removes what retention does not keep, with no server at hand.
#include "core/retention/expire.h"

#include <algorithm>
#include <array>

#include "cli/command.h"
#include "cli/output.h"
#include "core/config/conf_parser.h"
#include "core/monitor/freed_space.h"
#include "core/retention/stated_numbers.h"

namespace veza::cli {
namespace {

constexpr int kNotGiven = -1;
constexpr const char* kNoRules = "none";

struct ExpireArguments {
  bool dry_run = false;
  int full = kNotGiven;
  int diff = kNotGiven;
  int incr = kNotGiven;
  int archive = kNotGiven;
  std::string window;  // as retention_window; empty when it is not given
  std::string keep;    // as retention_keep or kNoRules; empty when it is not given
  std::string system_id;
};

struct Number {
  const char* setting;
  const char* option;
  int given;
  int* kept;
};

Error NotToldByAll(const char* setting, const StatedNumbers& server) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "could not tell \"veza_backup.{}\" of every server: {}", setting,
                   server.unknown);
}

// The number of the file, or else of the servers. A file that keeps less than a server is refused:
// the server may have the setting in its own postgresql.conf, or by ALTER SYSTEM. A default would
// remove what the server keeps, and so may any number while a server's is not known.
Status RequireSafeNumber(const std::string& file, bool is_stated, const StatedNumbers& server,
                         const Number& number) {
  const auto of_server = server.numbers.find(number.setting);
  const bool is_known = of_server != server.numbers.end();
  if (is_stated && is_known && KeepsLess(*number.kept, of_server->second.number)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "file \"{}\" has {} for \"veza_backup.{}\", but the server had {} when it "
                     "took backup \"{}\"",
                     file, *number.kept, number.setting, of_server->second.number,
                     of_server->second.backup)
        .WithHint(fmt::format("Correct the file. To keep less than the server all the same, give "
                              "the number with {}.",
                              number.option));
  }
  if (!is_stated && is_known) {
    *number.kept = of_server->second.number;
  }
  const bool keeps_all = (is_stated || is_known) && *number.kept == 0;
  if (!server.unknown.empty() && !keeps_all) {
    return NotToldByAll(number.setting, server)
        .WithHint(fmt::format(
            "Ask every server with SHOW veza_backup.{}, and give the largest number with {} (0 is "
            "the largest, and keeps all).{}",
            number.setting, number.option,
            is_known ? fmt::format(" It is at least that of backup \"{}\": {}.",
                                   of_server->second.backup, of_server->second.number)
                     : ""));
  }
  if (!is_stated && !is_known) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "neither file \"{}\" sets \"veza_backup.{}\", nor is {} given", file,
                     number.setting, number.option)
        .WithHint(fmt::format("The server may keep more than the default. Ask it with SHOW "
                              "veza_backup.{}, and give that number with {}, or write it into "
                              "the file.",
                              number.setting, number.option));
  }
  return Ok();
}

// What is kept by time is kept besides the numbers. So file and servers add up, where nothing is
// given.
Status FindRulesByTime(const StatedNumbers& server, const ExpireArguments& arguments,
                       RetentionSettings& settings) {
  const auto require_known = [&](const char* setting, const char* option) -> Status {
    if (server.unknown.empty()) {
      return Ok();
    }
    return NotToldByAll(setting, server)
        .WithHint(fmt::format("Ask every server with SHOW veza_backup.{}, and give with {} what "
                              "keeps most.",
                              setting, option));
  };
  if (arguments.window.empty()) {
    RETURN_IF_ERROR(require_known("retention_window", "--window (0: none)"));
    settings.window = std::max(settings.window, server.window);
  } else {
    ASSIGN_OR_RETURN(const int seconds,
                     ParseInteger(*FindSetting("retention_window"), arguments.window));
    settings.window = std::chrono::seconds(seconds);
  }
  if (arguments.keep.empty()) {
    RETURN_IF_ERROR(require_known("retention_keep", "--keep (none: no rules)"));
    AddRules(settings.keep, server.keep);
  } else if (arguments.keep == kNoRules) {
    settings.keep.clear();
  } else {
    RETURN_IF_ERROR(ValidateSetting(*FindSetting("retention_keep"), arguments.keep));
    ASSIGN_OR_RETURN(settings.keep, ParseRetentionKeep(arguments.keep));
  }
  return Ok();
}

// A number that is given counts.
Result<RetentionSettings> RetentionFor(const GlobalOptions& options, const Config& config,
                                       const StatedNumbers& server,
                                       const ExpireArguments& arguments) {
  RetentionSettings settings = RetentionOf(config);
  ASSIGN_OR_RETURN(SettingValues stated, ParseConfFile(options.config_file));
  WipeSecrets(stated);
  const std::array numbers = {
      Number{"retention_full", "--full", arguments.full, &settings.full},
      Number{"retention_diff", "--diff", arguments.diff, &settings.diff},
      Number{"retention_incr", "--incr", arguments.incr, &settings.incr},
      Number{"retention_archive", "--archive", arguments.archive, &settings.archive}};
  for (const Number& number : numbers) {
    if (number.given != kNotGiven) {
      *number.kept = number.given;
      continue;
    }
    RETURN_IF_ERROR(
        RequireSafeNumber(options.config_file, stated.contains(number.setting), server, number));
  }
  if (!KeepsEverything(settings)) {
    RETURN_IF_ERROR(FindRulesByTime(server, arguments, settings));
  }
  return settings;
}

std::uint64_t BytesRemoved(const std::vector<RetentionDecision>& decisions) {
  std::uint64_t bytes = 0;
  for (const RetentionDecision& decision : decisions) {
    bytes += decision.keep ? 0 : decision.bytes.value_or(0);
  }
  return bytes;
}

// When the space is free that the removed objects have taken.
std::string Freed(const FreedSpace& space, std::uint64_t bytes) {
  if (bytes == 0) {
    return "";
  }
  switch (space.when) {
    case SpaceIsFree::kAtOnce:
      return "";
    case SpaceIsFree::kLater:
      return fmt::format("freed: nothing yet; {} stay as old versions, {}\n", FormatSize(bytes),
                         space.detail);
    case SpaceIsFree::kNever:
      return fmt::format("freed: nothing; {} stay as old versions, {}\n{}\n", FormatSize(bytes),
                         space.detail, space.hint);
    case SpaceIsFree::kUnknown:
      break;
  }
  return fmt::format("freed: not known: {}\n", space.detail);
}

Json ToJson(const std::vector<RetentionDecision>& decisions, const RetentionSettings& settings,
            const FreedSpace& space, bool dry_run) {
  Json list = Json::Array();
  for (const RetentionDecision& decision : decisions) {
    Json one = {{"kind", RetentionKindName(decision.kind)},
                {"name", decision.name},
                {"action", decision.keep ? "keep" : "remove"},
                {"reason", decision.reason}};
    if (!decision.last.empty()) {
      one["last"] = decision.last;
    }
    if (decision.bytes) {
      one["bytes"] = *decision.bytes;
    }
    list.push_back(std::move(one));
  }
  return {{"dry_run", dry_run},
          {"retention",
           {{"full", settings.full},
            {"diff", settings.diff},
            {"incr", settings.incr},
            {"archive", settings.archive},
            {"window_seconds", settings.window.count()},
            {"keep", ToText(settings.keep)}}},
          {"space",
           {{"bytes_removed", BytesRemoved(decisions)},
            {"is_free", SpaceIsFreeName(space.when)},
            {"detail", space.detail}}},
          {"decisions", std::move(list)}};
}

std::string ToText(const std::vector<RetentionDecision>& decisions,
                   const RetentionSettings& settings, const FreedSpace& space, bool dry_run) {
  Table table({{"action"}, {"kind"}, {"name"}, {"size", true}, {"reason"}});
  std::uint64_t removed = 0;
  for (const RetentionDecision& decision : decisions) {
    table.AddRow({decision.keep ? "keep" : "remove", RetentionKindName(decision.kind),
                  RangeOf(decision), decision.bytes ? FormatSize(*decision.bytes) : "",
                  Printable(decision.reason)});
    removed += decision.keep ? 0 : 1;
  }
  return fmt::format(
      "{}\nretention (0: all): {} full, {} diff, {} incr, WAL since {} full{}{}\n"
      "{}: {} of {} ({})\n{}",
      table.Format(), settings.full, settings.diff, settings.incr, settings.archive,
      settings.window.count() == 0
          ? ""
          : fmt::format("; every moment of {}", WindowText(settings.window)),
      settings.keep.empty() ? "" : fmt::format("; {}", ToText(settings.keep)),
      dry_run ? "would be removed" : "removed", removed, decisions.size(),
      FormatSize(BytesRemoved(decisions)), Freed(space, BytesRemoved(decisions)));
}

Result<int> RunExpire(const GlobalOptions& options, const ExpireArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> wanted, ParseSystemId(arguments.system_id));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(wanted));
  const std::uint64_t system = identity.system_identifier;
  RetentionSettings settings;
  const RetentionChooser choose = [&](const BackupCatalog& catalog) -> Result<RetentionSettings> {
    ASSIGN_OR_RETURN(const StatedNumbers server, ReadStatedNumbers(*repository, system, catalog));
    ASSIGN_OR_RETURN(settings, RetentionFor(options, config, server, arguments));
    return settings;
  };
  ASSIGN_OR_RETURN(const std::vector<RetentionDecision> decisions,
                   arguments.dry_run
                       ? PlanExpire(*repository, system, choose)
                       : ExpireUnderLock(*repository, system, choose, config.s3_connections));
  if (options.quiet && !options.json) {
    return kDone;
  }
  const FreedSpace space = ReadFreedSpace(config, options.environment);
  if (options.json) {
    PrintJson(ToJson(decisions, settings, space, arguments.dry_run));
  } else {
    PrintText(ToText(decisions, settings, space, arguments.dry_run));
  }
  return kDone;
}

}  // namespace

Subcommand AddExpire(Command parent) {
  auto arguments = std::make_shared<ExpireArguments>();
  Command command = parent.AddCommand("expire", "Remove what retention does not keep");
  command.AddFlag("--dry-run", arguments->dry_run, "Only show what would be removed, and why");
  const auto add = [&](const char* option, int& number, const char* help) {
    command.Add(option, number, help).Range(0, FindSetting("retention_full")->max).TypeName("N");
  };
  add("--full", arguments->full, "Keep the N newest full backups; 0: all. Default: retention_full");
  add("--diff", arguments->diff, "Keep the N newest diff backups; 0: all. Default: retention_diff");
  add("--incr", arguments->incr, "Keep the N newest incr backups; 0: all. Default: retention_incr");
  add("--archive", arguments->archive,
      "Keep all WAL since the N-th newest full backup; 0: all. Default: retention_archive");
  command
      .Add("--window", arguments->window,
           "Keep what every moment of this time needs, for example 14d; 0: only what the numbers "
           "keep. Default: retention_window")
      .TypeName("TIME");
  command
      .Add("--keep", arguments->keep,
           "Keep one backup of each of the newest periods, for example \"7 daily, 5 weekly\"; "
           "none: only what the numbers keep. Default: retention_keep")
      .TypeName("RULES");
  AddSystemIdOption(command, arguments->system_id);
  command.SetFooter(
      "The rules are those of the server (veza_backup_expire()). Numbers that are neither given\n"
      "nor in the configuration file are those that the server had at its newest backup; of\n"
      "several nodes the largest. If one backup does not tell, or cannot be read, each number and\n"
      "rule has to be given. While a backup or another expiry is at work, nothing is removed.");
  return {command,
          [arguments](const GlobalOptions& options) { return RunExpire(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
