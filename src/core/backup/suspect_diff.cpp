#include "core/backup/suspect_diff.h"

#include <fmt/format.h>

#include <algorithm>

namespace veza {

namespace {

std::string WrongChecksums(const BackupSummary& backup) {
  if (backup.checksum_failures == 0) {
    return "";
  }
  std::string text = fmt::format("backup \"{}\" holds {} pages with wrong checksums", backup.label,
                                 backup.checksum_failures);
  if (!backup.checksum_failure_pages.empty()) {
    const ChecksumFailure& first = backup.checksum_failure_pages.front();
    text += fmt::format(", the first in file \"{}\", block {}", first.path, first.block);
  }
  return text;
}

}  // namespace

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

std::string WhyDoubtful(const BackupSummary& backup, std::span<const BackupSummary> backups) {
  if (std::string suspect = SuspectDiff(backup); !suspect.empty()) {
    return suspect;
  }
  std::string wrong = WrongChecksums(backup);
  if (!wrong.empty()) {
    return wrong;
  }
  for (const BackupSummary& other : backups) {
    const bool is_named = std::ranges::find(backup.sources, other.label, &SourceBackup::label) !=
                          backup.sources.end();
    wrong = !is_named                     ? ""
            : !SuspectDiff(other).empty() ? SuspectDiff(other)
                                          : WrongChecksums(other);
    if (!wrong.empty()) {
      return wrong;
    }
  }
  return "";
}

}  // namespace veza
