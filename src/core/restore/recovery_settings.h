// What a restored server is told: the lines of postgresql.auto.conf and the signal file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/postgres/own_names.h"
#include "core/restore/target.h"

namespace veza {

struct RecoverySettings {
  std::string restore_command{};
  RecoveryTarget target{};
  bool standby = false;
  // Otherwise archive_mode = off: a restored copy must not write into the original's archive.
  bool preserve_archive_mode = false;
  // For databases that come back as zeros: some WAL records refer to a page without its image, and
  // over a page of zeros recovery would end with a PANIC.
  bool ignore_invalid_pages = false;
};

// "standby.signal" or "recovery.signal". The file is empty.
const char* SignalFileName(const RecoverySettings& settings);

// The text of postgresql.auto.conf after a restore: the lines that were there (`before`, may be
// empty) without earlier recovery settings, then the new ones. Removed are restore_command,
// recovery_target*, recovery_end_command, archive_cleanup_command, ignore_invalid_pages and, since
// later lines win, archive_mode when a new one is written. primary_conninfo, primary_slot_name and
// recovery_min_apply_delay stay for a standby only. Every setting that decides where recovery ends
// is written, those that are not wanted as empty or with their default: otherwise what
// postgresql.conf, or a file that it includes, says of them would count.
std::string RewriteAutoConf(std::string_view before, const RecoverySettings& settings);

// What kRecoverySettingsFile holds.
std::string ListRecoverySettings(const RecoverySettings& settings);
// `auto_conf` without the lines that set what the list names to what the list says. What somebody
// has set otherwise since stays.
std::string RemoveListedSettings(std::string_view auto_conf, std::string_view list);

// `auto_conf` with a restore_command of ours that has no option any more which was meant for the
// one recovery: with --end-at-gap a standby made of the server later on would take a gap for the
// end of WAL, and the lease has ended.
std::string ForgetRecoveryOptions(std::string_view auto_conf);
inline constexpr std::string_view kEndAtGapOption = " --end-at-gap";
inline constexpr std::string_view kLeaseOption = " --lease";  // and its name

// What the last line of `conf` that sets `name` (in lower case) sets it to.
std::optional<std::string> FindSetting(std::string_view conf, std::string_view name);

// As one word of a command for the shell: as it is where nothing in it could mean something to the
// shell, otherwise in single quotes.
std::string QuoteForShell(std::string_view word);

// restore_command for `vezactl wal-get`: both paths absolute, quoted for the shell, with '%'
// doubled. `system_identifier` is passed on when the repository holds several.
std::string BuildRestoreCommand(std::string_view vezactl, std::string_view config_file,
                                std::optional<std::uint64_t> system_identifier);

}  // namespace veza
