// What a restored server is told: the lines of postgresql.auto.conf and the signal file.
#pragma once

#include <optional>
#include <string>
#include <string_view>

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
// recovery_min_apply_delay stay for a standby only. At most one recovery target is ever written.
std::string RewriteAutoConf(std::string_view before, const RecoverySettings& settings);

// restore_command for `vezactl wal-get`: both paths absolute, quoted for the shell, with '%'
// doubled. `system_identifier` is passed on when the repository holds several.
std::string BuildRestoreCommand(std::string_view vezactl, std::string_view config_file,
                                std::optional<std::uint64_t> system_identifier);

}  // namespace veza
