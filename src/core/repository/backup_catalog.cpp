#include "core/repository/backup_catalog.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/limits.h"
#include "core/repository/backup_order.h"
#include "core/repository/tombstone.h"

namespace veza {

namespace {

// Nothing: a tombstone. kNotFound: there is no backup.json.
Result<std::optional<BackupSummary>> ReadSummary(const Repository& repository,
                                                 const std::string& label) {
  ASSIGN_OR_RETURN(const Bytes text, GetSmall(repository.store(), BackupDocumentName(label),
                                              limits::kBackupDocument));
  Result<BackupSummary> summary = ParseSummary(AsText(text), label, repository.seal_policy());
  if (summary) {
    return std::optional(std::move(*summary));
  }
  if (IsTombstone(AsText(text), label, repository.seal_policy())) {
    return std::optional<BackupSummary>();
  }
  return summary.error();
}

std::string ListLabels(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) {
    text += (text.empty() ? "" : ", ") + label;
  }
  return text;
}

}  // namespace

Result<BackupCatalog> ReadBackupCatalog(const Repository& repository) {
  ASSIGN_OR_RETURN(const std::vector<std::string> labels,
                   repository.store().ListDirectories(kBackupPrefix));
  BackupCatalog catalog;
  for (const std::string& label : labels) {
    Result<std::optional<BackupSummary>> summary = ReadSummary(repository, label);
    if (summary && *summary) {
      catalog.backups.push_back(std::move(**summary));
    } else if (summary) {
      catalog.buried.push_back(label);
    } else if (summary.error().code == ErrorCode::kNotFound) {
      // Without a label it is not ours.
      const bool is_label = ParseLabel(label).has_value();
      ASSIGN_OR_RETURN(
          const bool exists,
          is_label ? HoldsObject(repository.store(), BackupDirectory(label)) : Result<bool>(false));
      if (exists) {
        catalog.unfinished.push_back({label});
      }
    } else if (summary.error().code == ErrorCode::kDataCorrupted ||
               summary.error().code == ErrorCode::kUnsupported ||
               summary.error().code == ErrorCode::kPermissionDenied ||
               summary.error().code == ErrorCode::kWrongKey) {
      catalog.broken.push_back({label, std::move(summary.error())});
    } else {
      return summary.error();
    }
  }
  SortBackups(catalog.backups);
  return catalog;
}

Result<BackupSummary> ReadBackup(const Repository& repository, const std::string& label) {
  if (!ParseLabel(label)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a backup label", label)
        .WithHint("A label looks like 20261122-020000F or 20261122-020000F_20261123-020000D.");
  }
  Result<std::optional<BackupSummary>> summary = ReadSummary(repository, label);
  if (summary && *summary) {
    return std::move(**summary);
  }
  if (!summary && summary.error().code != ErrorCode::kNotFound) {
    return summary.error();
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> labels,
                   repository.store().ListDirectories(kBackupPrefix));
  ASSIGN_OR_RETURN(const bool exists, HoldsObject(repository.store(), BackupDirectory(label)));
  if (exists) {
    return MakeError(ErrorCode::kNotFound, "backup \"{}\" was never completed", label)
        .WithHint("It is being made now, or it failed. Choose another one.");
  }
  return MakeError(ErrorCode::kNotFound, "there is no backup \"{}\" in repository \"{}\"", label,
                   repository.store().location())
      .WithHint(labels.empty() ? "The repository holds no backup."
                               : fmt::format("There are: {}.", ListLabels(labels)));
}

}  // namespace veza
