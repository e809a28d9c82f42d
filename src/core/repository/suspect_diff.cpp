#include "core/repository/suspect_diff.h"

#include <fmt/format.h>

namespace veza {

std::string SuspectDiff(const BackupSummary& backup) {
  if (backup.type != BackupType::kDiff || !backup.changes_by.empty() ||
      backup.data_checksum_version != 0) {
    return "";
  }
  return fmt::format(
      "diff \"{}\" was made by version 0.1 of a cluster without data checksums: it may lack what "
      "VACUUM has changed since the full backup, and then index-only scans return rows that are "
      "not there",
      backup.label);
}

}  // namespace veza
