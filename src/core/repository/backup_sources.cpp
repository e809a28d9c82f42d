#include "core/repository/backup_sources.h"

#include <algorithm>

namespace veza {

namespace {

const BackupSummary* FindLabel(const SourceBackup& source, std::span<const BackupSummary> backups) {
  const auto there = std::ranges::find(backups, source.label, &BackupSummary::label);
  return there != backups.end() ? &*there : nullptr;
}

}  // namespace

const BackupSummary* FindSource(const SourceBackup& source,
                                std::span<const BackupSummary> backups) {
  const BackupSummary* const there = FindLabel(source, backups);
  return there != nullptr && there->manifest_sha256 == source.manifest_sha256 ? there : nullptr;
}

std::string WhySourceIsWrong(const SourceBackup& source, std::span<const BackupSummary> backups) {
  if (FindSource(source, backups) != nullptr) {
    return "";
  }
  return FindLabel(source, backups) == nullptr ? "which is missing or damaged"
                                               : "and another one is in its place";
}

}  // namespace veza
