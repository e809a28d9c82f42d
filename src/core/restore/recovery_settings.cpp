#include "core/restore/recovery_settings.h"

#include <algorithm>
#include <array>

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

// As ALTER SYSTEM writes it (escape_single_quotes_ascii): quotes and backslashes doubled.
std::string ConfLine(std::string_view name, std::string_view value) {
  return fmt::format("{} = '{}'\n", name, ReplaceAll(ReplaceAll(value, '\\', "\\\\"), '\'', "''"));
}

std::string QuoteForShell(std::string_view word) {
  const bool plain = !word.empty() && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+:@,").find(c) != std::string_view::npos;
  });
  return plain ? std::string(word) : fmt::format("'{}'", ReplaceAll(word, '\'', R"('\'')"));
}

// The name that a line sets, in lower case; empty for a comment, a blank line and what is none.
std::string NameOf(std::string_view line) {
  ConfLexer lexer(line);
  const ConfToken token = lexer.Next();
  if (token != ConfToken::kId && token != ConfToken::kQualifiedId) {
    return "";
  }
  std::string name(lexer.token_text());
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name;
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

std::string TargetLine(const RecoveryTarget& target) {
  switch (target.kind) {
    case TargetKind::kEndOfWal:
      return "";
    case TargetKind::kImmediate:
      return ConfLine("recovery_target", "immediate");
    case TargetKind::kTime:
      return ConfLine("recovery_target_time", FormatTargetTime(target.time));
    case TargetKind::kLsn:
      return ConfLine("recovery_target_lsn", FormatLsn(target.lsn));
    case TargetKind::kXid:
      return ConfLine("recovery_target_xid", std::to_string(target.xid));
    case TargetKind::kName:
      return ConfLine("recovery_target_name", target.name);
  }
  return "";
}

std::string NewLines(const RecoverySettings& settings) {
  const RecoveryTarget& target = settings.target;
  std::string lines = ConfLine("restore_command", settings.restore_command);
  lines += TargetLine(target);
  lines += ConfLine("recovery_target_timeline", FormatTargetTimeline(target.timeline));
  if (target.kind == TargetKind::kTime || target.kind == TargetKind::kLsn ||
      target.kind == TargetKind::kXid) {
    lines += ConfLine("recovery_target_inclusive", target.inclusive ? "on" : "off");
  }
  if (target.kind != TargetKind::kEndOfWal) {
    lines += ConfLine("recovery_target_action", TargetActionName(target.action));
  }
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
  while (!before.empty()) {
    const std::size_t end = std::min(before.find('\n'), before.size() - 1) + 1;
    const std::string_view line = before.substr(0, end);
    before.remove_prefix(end);
    if (!IsReplaced(NameOf(line), settings)) {
      after += line;
    }
  }
  if (!after.empty() && !after.ends_with('\n')) {
    after += '\n';
  }
  return after + NewLines(settings);
}

std::string BuildRestoreCommand(std::string_view vezactl, std::string_view config_file,
                                std::optional<std::uint64_t> system_identifier) {
  // The server replaces %f and %p, and %% by %, before the shell sees the command.
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
