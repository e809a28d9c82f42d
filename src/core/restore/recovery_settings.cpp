#include "core/restore/recovery_settings.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

#include "core/config/conf_lexer.h"
#include "core/restore/target_time.h"

namespace veza {
namespace {

std::string ReplaceAll(std::string_view text, char wanted, std::string_view replacement) {
  std::string result;
  for (const char c : text) {
    if (c == wanted) {
      result += replacement;
    } else {
      result += c;
    }
  }
  return result;
}

// As ALTER SYSTEM writes it (escape_single_quotes_ascii): quotes and backslashes are doubled.
std::string ConfLine(std::string_view name, std::string_view value) {
  return fmt::format("{} = '{}'\n", name, ReplaceAll(ReplaceAll(value, '\\', "\\\\"), '\'', "''"));
}

struct Assignment {
  // In lower case; empty for a comment, a blank line and anything else that sets nothing.
  std::string name;
  std::string value;
  bool operator<(const Assignment& other) const {
    return std::tie(name, value) < std::tie(other.name, other.value);
  }
};

Assignment AssignmentOf(std::string_view line) {
  ConfLexer lexer(line);
  ConfToken token = lexer.Next();
  if (token != ConfToken::kId && token != ConfToken::kQualifiedId) {
    return {};
  }
  Assignment assignment{std::string(lexer.token_text()), ""};
  std::ranges::transform(assignment.name, assignment.name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  token = lexer.Next();
  if (token == ConfToken::kEquals) {
    token = lexer.Next();
  }
  assignment.value = token == ConfToken::kString ? UnquoteConfString(lexer.token_text())
                                                 : std::string(lexer.token_text());
  return assignment;
}

// Calls `visit` with each line, including its line feed.
template <typename Visitor>
void ForEachLine(std::string_view text, Visitor visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    visit(text.substr(0, end));
    text.remove_prefix(end);
  }
}

// Removes the option, which is a word of its own, and its argument from the command. Returns
// whether it was there.
bool RemoveOption(std::string& command, std::string_view option, bool has_argument) {
  const std::size_t begin = command.find(option);
  std::size_t end = begin + option.size();
  if (begin == std::string::npos || (end < command.size() && command[end] != ' ')) {
    return false;
  }
  if (has_argument) {
    end = std::min(command.find(' ', end + 1), command.size());
  }
  command.erase(begin, end - begin);
  return true;
}

bool IsReplaced(std::string_view name, const RecoverySettings& settings) {
  constexpr std::array kRecovery = {"restore_command", "recovery_end_command",
                                    "archive_cleanup_command", "ignore_invalid_pages"};
  constexpr std::array kStandby = {"primary_conninfo", "primary_slot_name",
                                   "recovery_min_apply_delay"};
  const auto is_name = [&](std::string_view other) { return other == name; };
  return name.starts_with("recovery_target") || std::ranges::any_of(kRecovery, is_name) ||
         (!settings.standby && std::ranges::any_of(kStandby, is_name)) ||
         (!settings.preserve_archive_mode && name == "archive_mode");
}

// The five target settings, of which at most one may be set: names and values.
std::array<std::pair<const char*, std::string>, 5> TargetsOf(const RecoveryTarget& target) {
  const auto value_of = [&](TargetKind kind, auto format) {
    return target.kind == kind ? format() : std::string();
  };
  return {
      {{"recovery_target", value_of(TargetKind::kImmediate, [] { return "immediate"; })},
       {"recovery_target_time",
        value_of(TargetKind::kTime, [&] { return FormatTargetTime(target.time); })},
       {"recovery_target_lsn", value_of(TargetKind::kLsn, [&] { return FormatLsn(target.lsn); })},
       {"recovery_target_xid",
        value_of(TargetKind::kXid, [&] { return std::to_string(target.xid); })},
       {"recovery_target_name", value_of(TargetKind::kName, [&] { return target.name; })}}};
}

// The signal file also makes the recovery settings in postgresql.conf effective: a target that an
// older recovery has left there, or the commands of a standby. So every such setting gets a line
// here. The empty targets come first: once a target is set, the assign hooks of the others refuse
// any value, even an empty one (error_multiple_recovery_targets).
std::string LinesOfRecovery(const RecoverySettings& settings) {
  const RecoveryTarget& target = settings.target;
  std::string empty;
  std::string ours;
  for (const auto& [name, value] : TargetsOf(target)) {
    (value.empty() ? empty : ours) += ConfLine(name, value);
  }
  std::string lines = empty + ours;
  lines += ConfLine("recovery_target_timeline", FormatTargetTimeline(target.timeline));
  lines += ConfLine("recovery_target_inclusive", target.inclusive ? "on" : "off");
  lines +=
      ConfLine("recovery_target_action",
               target.kind == TargetKind::kEndOfWal ? "promote" : TargetActionName(target.action));
  lines += ConfLine("recovery_end_command", "");
  lines += ConfLine("archive_cleanup_command", "");
  if (!settings.standby) {
    lines += ConfLine("recovery_min_apply_delay", "0");
  }
  return lines;
}

std::string NewLines(const RecoverySettings& settings) {
  std::string lines =
      ConfLine("restore_command", settings.restore_command) + LinesOfRecovery(settings);
  if (settings.ignore_invalid_pages) {
    lines += ConfLine("ignore_invalid_pages", "on");
  }
  if (!settings.preserve_archive_mode) {
    lines += ConfLine("archive_mode", "off");
  }
  return lines;
}

}  // namespace

const char* SignalFileName(const RecoverySettings& settings) {
  return settings.standby ? "standby.signal" : "recovery.signal";
}

std::string RewriteAutoConf(std::string_view before, const RecoverySettings& settings) {
  std::string after;
  ForEachLine(before, [&](std::string_view line) {
    if (!IsReplaced(AssignmentOf(line).name, settings)) {
      after += line;
    }
  });
  if (!after.empty() && !after.ends_with('\n')) {
    after += '\n';
  }
  return after + NewLines(settings);
}

std::string ListRecoverySettings(const RecoverySettings& settings) {
  return "# Written by vezactl restore. When recovery has ended, veza_backup removes these lines\n"
         "# from postgresql.auto.conf, and this file.\n" +
         LinesOfRecovery(settings);
}

std::string RemoveListedSettings(std::string_view auto_conf, std::string_view list) {
  std::set<Assignment> listed;
  ForEachLine(list, [&](std::string_view line) { listed.insert(AssignmentOf(line)); });
  listed.erase(Assignment{});
  std::string after;
  ForEachLine(auto_conf, [&](std::string_view line) {
    if (!listed.contains(AssignmentOf(line))) {
      after += line;
    }
  });
  return after;
}

std::string ForgetRecoveryOptions(std::string_view auto_conf) {
  std::string after;
  ForEachLine(auto_conf, [&](std::string_view line) {
    Assignment assignment = AssignmentOf(line);
    std::string& command = assignment.value;
    const bool is_ours =
        assignment.name == "restore_command" && command.find(" wal-get ") != std::string::npos;
    const bool had_gap = is_ours && RemoveOption(command, kEndAtGapOption, false);
    const bool had_lease = is_ours && RemoveOption(command, kLeaseOption, true);
    const bool had_time = is_ours && RemoveOption(command, kAsOfOption, true);
    const bool had_repository = is_ours && RemoveOption(command, kRepositoryOption, true);
    const bool had_end = is_ours && RemoveOption(command, kLastSegmentOption, true);
    after += had_gap || had_lease || had_time || had_repository || had_end
                 ? ConfLine(assignment.name, command)
                 : std::string(line);
  });
  return after;
}

std::optional<std::string> FindSetting(std::string_view conf, std::string_view name) {
  std::optional<std::string> found;
  ForEachLine(conf, [&](std::string_view line) {
    Assignment assignment = AssignmentOf(line);
    if (assignment.name == name) {
      found = std::move(assignment.value);
    }
  });
  return found;
}

std::string QuoteForShell(std::string_view word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+:@,").find(c) != std::string_view::npos;
  });
  return plain ? std::string(word) : fmt::format("'{}'", ReplaceAll(word, '\'', R"('\'')"));
}

std::string BuildRestoreCommand(std::string_view vezactl, std::string_view config_file,
                                std::optional<std::uint64_t> system_identifier) {
  // The server replaces %f and %p, and turns %% into %, before the shell sees the command.
  const auto quote = [](std::string_view path) {
    return ReplaceAll(QuoteForShell(path), '%', "%%");
  };
  std::string command = fmt::format("{} --config {} wal-get", quote(vezactl), quote(config_file));
  if (system_identifier) {
    command += fmt::format(" --system-id {}", *system_identifier);
  }
  return command + " %f \"%p\"";
}

}  // namespace veza
