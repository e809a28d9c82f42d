#include "core/retention/stated_numbers.h"

#include <algorithm>
#include <functional>

#include "core/config/settings.h"

namespace veza {

namespace {

constexpr const char* kNumbers[] = {"retention_full", "retention_diff", "retention_incr",
                                    "retention_archive"};

// The newest backup of each node, by node.
std::map<std::string, const BackupSummary*> NewestOfNodes(const BackupCatalog& catalog,
                                                          std::uint64_t system_identifier) {
  std::map<std::string, const BackupSummary*> newest;
  for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup) {
    if (backup->system_identifier == system_identifier) {
      newest.try_emplace(backup->node, &*backup);
    }
  }
  return newest;
}

using ValueOf = std::function<std::string(const SettingSpec& spec)>;

// Adds what one backup states. Fails when it has a value that this version cannot read.
Status AddStated(const ValueOf& value_of, const std::string& label, StatedNumbers& stated) {
  const SettingSpec& window = *FindSetting("retention_window");
  ASSIGN_OR_RETURN(const int seconds, ParseInteger(window, value_of(window)));
  stated.window = std::max(stated.window, std::chrono::seconds(seconds));
  for (const char* const name : kNumbers) {
    const SettingSpec& spec = *FindSetting(name);
    ASSIGN_OR_RETURN(const int number, ParseInteger(spec, value_of(spec)));
    const auto [known, is_first] = stated.numbers.try_emplace(name, StatedNumber{number, label});
    if (!is_first && KeepsLess(known->second.number, number)) {
      known->second = {number, label};
    }
  }
  const SettingSpec& rules = *FindSetting("retention_keep");
  RETURN_IF_ERROR(ValidateSetting(rules, value_of(rules)));
  ASSIGN_OR_RETURN(const std::vector<KeepRule> keep, ParseRetentionKeep(value_of(rules)));
  AddRules(stated.keep, keep);
  return Ok();
}

}  // namespace

bool KeepsLess(int number, int other) {
  return number != 0 && (other == 0 || number < other);
}

Result<StatedNumbers> ReadStatedNumbers(const Repository& repository,
                                        std::uint64_t system_identifier,
                                        const BackupCatalog& catalog) {
  StatedNumbers stated;
  if (!catalog.broken.empty()) {
    stated.unknown = fmt::format("backup \"{}\" cannot be read, and may be the newest of a server",
                                 catalog.broken.back().label);
  }
  for (const auto& [node, newest] : NewestOfNodes(catalog, system_identifier)) {
    ASSIGN_OR_RETURN(const BackupSummary backup, ReadBackup(repository, newest->label));
    // No server can take a backup with the default of this one, which is empty.
    if (!backup.settings.contains("veza_backup.repository")) {
      stated.unknown =
          fmt::format("backup \"{}\", the newest of node \"{}\", does not tell its settings",
                      backup.label, node);
      continue;
    }
    const auto value_of = [&](const SettingSpec& spec) {
      const auto found = backup.settings.find(fmt::format("{}{}", kSettingPrefix, spec.name));
      return found == backup.settings.end() ? std::string(spec.default_value) : found->second;
    };
    const Status read = AddStated(value_of, backup.label, stated);
    if (!read) {
      stated.unknown = fmt::format("of backup \"{}\", the newest of node \"{}\": {}", backup.label,
                                   node, read.error().message);
    }
  }
  return stated;
}

}  // namespace veza
