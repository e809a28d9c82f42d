// The recovery settings of a restored server: the lines of postgresql.auto.conf and the signal
// file.
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
  // If false, archive_mode = off is written: a restored copy must not write into the original's
  // archive.
  bool preserve_archive_mode = false;
  // Needed when databases come back as zeros. Some WAL records refer to a page without an image of
  // it, and on a page of zeros recovery would end with a PANIC.
  bool ignore_invalid_pages = false;
};

// "standby.signal" or "recovery.signal". The file is empty.
const char* SignalFileName(const RecoverySettings& settings);

// The text of postgresql.auto.conf after a restore: the lines of `before` (may be empty) without
// earlier recovery settings, followed by the new settings. These are removed: restore_command,
// recovery_target*, recovery_end_command, archive_cleanup_command, ignore_invalid_pages, and
// archive_mode if a new one is written, since the last line of a setting counts. primary_conninfo,
// primary_slot_name and recovery_min_apply_delay are kept for a standby only. Every setting that
// decides where recovery ends is written, even if only as empty or with its default value.
// Otherwise a value in postgresql.conf, or in a file that it includes, would take effect.
std::string RewriteAutoConf(std::string_view before, const RecoverySettings& settings);

// The content of kRecoverySettingsFile.
std::string ListRecoverySettings(const RecoverySettings& settings);
// Removes from `auto_conf` the lines that set a setting of the list to the value in the list. A
// setting that somebody has changed since is kept.
std::string RemoveListedSettings(std::string_view auto_conf, std::string_view list);

// Removes from our restore_command in `auto_conf` the options that were meant for this recovery
// only. With --end-at-gap, a standby that is later made from the server would take a gap for the
// end of WAL; with --as-of it would find no WAL that is new; with --repository none that its
// primary archives; the lease of --lease has ended; and retention may remove the segment of
// --last-segment.
std::string ForgetRecoveryOptions(std::string_view auto_conf);
inline constexpr std::string_view kEndAtGapOption = " --end-at-gap";
inline constexpr std::string_view kLeaseOption = " --lease";  // followed by the lease's name
inline constexpr std::string_view kAsOfOption = " --as-of";   // followed by a time, as FormatUtc()
inline constexpr std::string_view kRepositoryOption = " --repository";     // followed by "mirror"
inline constexpr std::string_view kLastSegmentOption = " --last-segment";  // followed by its name

// The value that the last line of `conf` for the setting `name` (in lower case) gives.
std::optional<std::string> FindSetting(std::string_view conf, std::string_view name);

// The word as one word of a shell command: unchanged if nothing in it has a meaning for the shell,
// otherwise in single quotes.
std::string QuoteForShell(std::string_view word);

// The restore_command for `vezactl wal-get`. Both paths are absolute. They are quoted for the
// shell, and '%' is doubled. `system_identifier` is added when the repository holds several
// systems.
std::string BuildRestoreCommand(std::string_view vezactl, std::string_view config_file,
                                std::optional<std::uint64_t> system_identifier);

}  // namespace veza
