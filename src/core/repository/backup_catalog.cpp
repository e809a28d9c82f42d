#include "core/repository/backup_catalog.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/codec/json.h"
#include "core/limits.h"
#include "core/repository/backup_order.h"
#include "core/repository/tombstone.h"

namespace veza {

namespace {

// nullopt for a tombstone.
Result<std::optional<BackupSummary>> ParseDocument(const Repository& repository,
                                                   const std::string& label, const Bytes& text) {
  Result<BackupSummary> summary = ParseSummary(AsText(text), label, repository.seal_policy());
  if (summary) {
    return std::optional(std::move(*summary));
  }
  if (IsTombstone(AsText(text), label, repository.seal_policy())) {
    return std::optional<BackupSummary>();
  }
  return summary.error();
}

// nullopt for a tombstone; kNotFound when there is no backup.json.
Result<std::optional<BackupSummary>> ReadSummary(const Repository& repository,
                                                 const std::string& label) {
  ASSIGN_OR_RETURN(const Bytes text, GetSmall(repository.store(), BackupDocumentName(label),
                                              limits::kBackupDocument));
  return ParseDocument(repository, label, text);
}

// Whether the error concerns the document itself, and not the store.
bool IsOfTheDocument(ErrorCode code) {
  return code == ErrorCode::kDataCorrupted || code == ErrorCode::kUnsupported ||
         code == ErrorCode::kPermissionDenied || code == ErrorCode::kWrongKey;
}

class CatalogReader {
 public:
  CatalogReader(const Repository& repository, SummaryParts parts, const CatalogBudget& budget)
      : repository_(repository), parts_(parts), budget_(budget), stored_left_(budget.stored) {}

  Status Read(const std::string& label) {
    Result<std::optional<BackupSummary>> summary = ReadWithinBudget(label);
    if (summary && *summary) {
      Add(std::move(**summary));
    } else if (summary) {
      catalog_.buried.push_back(label);
    } else if (summary.error().code == ErrorCode::kNotFound) {
      // A directory whose name is not a label is not a backup.
      const bool is_label = ParseLabel(label).has_value();
      ASSIGN_OR_RETURN(const bool exists,
                       is_label ? HoldsObject(repository_.store(), BackupDirectory(label))
                                : Result<bool>(false));
      if (exists) {
        catalog_.unfinished.push_back({label});
      }
    } else if (IsOfTheDocument(summary.error().code)) {
      AddBroken(label, std::move(summary.error()));
    } else {
      return summary.error();
    }
    return Ok();
  }

  BackupCatalog Take() {
    for (auto& [label, held] : held_) {
      catalog_.backups.push_back(std::move(held.summary));
    }
    SortBackups(catalog_.backups);
    std::ranges::sort(catalog_.broken, {}, &BrokenBackup::label);
    return std::move(catalog_);
  }

 private:
  struct Held {
    BackupSummary summary;
    std::size_t memory = 0;
  };

  Result<std::optional<BackupSummary>> ReadWithinBudget(const std::string& label) {
    const std::string name = BackupDocumentName(label);
    const std::uint64_t limit = std::min<std::uint64_t>(limits::kBackupDocument, stored_left_);
    if (limit < limits::kBackupDocument) {
      // If the object does not exist there is no backup. If it is small it may still be read.
      ASSIGN_OR_RETURN(const ObjectInfo info, repository_.store().Head(name));
      if (info.size > limit) {
        return NotRead(label, fmt::format("all backup.json files together have more than {} bytes",
                                          budget_.stored));
      }
    }
    const Result<Bytes> text = GetSmall(repository_.store(), name, limit);
    if (!text && text.error().code == ErrorCode::kDataCorrupted) {
      stored_left_ -= limit;  // that much was fetched
    }
    RETURN_IF_ERROR(text);
    stored_left_ -= text->size();
    return ParseDocument(repository_, label, *text);
  }

  void Add(BackupSummary summary) {
    std::string label = summary.label;
    KeepOnly(parts_, &summary);
    Hold(label, std::move(summary));
    // If somebody has written documents to fill the memory, theirs are the largest.
    while (memory_ > budget_.memory) {
      const std::string largest = by_memory_.rbegin()->second;
      BackupSummary taken = Release(largest);
      if (parts_ != SummaryParts::kFacts && !taken.is_cut) {
        KeepOnly(SummaryParts::kFacts, &taken);
        taken.is_cut = true;
        Hold(largest, std::move(taken));
      } else {
        AddBroken(largest,
                  NotRead(largest, fmt::format("the content of all backup.json files together "
                                               "takes more than {} bytes of memory",
                                               budget_.memory)));
      }
    }
  }

  void Hold(const std::string& label, BackupSummary summary) {
    const std::size_t memory = MemoryOf(summary) + kEntry;
    memory_ += memory;
    by_memory_.emplace(memory, label);
    held_[label] = {std::move(summary), memory};
  }

  BackupSummary Release(const std::string& label) {
    const auto found = held_.find(label);
    Held held = std::move(found->second);
    memory_ -= held.memory;
    by_memory_.erase({held.memory, label});
    held_.erase(found);
    return std::move(held.summary);
  }

  // The message may quote the damaged document, so it is shortened.
  void AddBroken(const std::string& label, Error error) {
    if (error.message.size() > kMessage) {
      error.message = ValidUtf8(error.message.substr(0, kMessage)) + "...";
    }
    error.message.shrink_to_fit();
    catalog_.broken.push_back({label, std::move(error)});
  }

  static Error NotRead(const std::string& label, const std::string& reason) {
    return MakeError(ErrorCode::kDataCorrupted, "backup \"{}\" was not read: {}", label, reason)
        .WithHint(
            "Find out who has written so much below \"backup/\", or keep fewer backups. Until "
            "then, retention keeps this backup and all WAL.");
  }

  // An estimate of what the two indexes below add for each backup.
  static constexpr std::size_t kEntry = 256;
  static constexpr std::size_t kMessage = 512;

  const Repository& repository_;
  const SummaryParts parts_;
  const CatalogBudget budget_;
  std::uint64_t stored_left_;
  std::size_t memory_ = 0;
  std::map<std::string, Held> held_;
  std::set<std::pair<std::size_t, std::string>> by_memory_;
  BackupCatalog catalog_;
};

std::string ListLabels(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) {
    text += (text.empty() ? "" : ", ") + label;
  }
  return text;
}

}  // namespace

Result<BackupCatalog> ReadBackupCatalog(const Repository& repository, SummaryParts parts,
                                        const CatalogBudget& budget) {
  ASSIGN_OR_RETURN(const std::vector<std::string> labels,
                   repository.store().ListDirectories(kBackupPrefix));
  CatalogReader reader(repository, parts, budget);
  for (const std::string& label : labels) {
    RETURN_IF_ERROR(reader.Read(label));
  }
  return reader.Take();
}

Result<BackupSummary> ReadBackup(const Repository& repository, const std::string& label) {
  if (!ParseLabel(label)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a backup label", label)
        .WithHint(
            "A label looks like 20261122-020000F (a full backup), "
            "20261122-020000F_20261123-020000D "
            "(a diff) or 20261122-020000F_20261123-020000I (an incr).");
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
    return MakeError(ErrorCode::kNotFound, "backup \"{}\" is not complete", label)
        .WithHint("It is being made now, or it has failed. Choose another backup.");
  }
  return MakeError(ErrorCode::kNotFound, "there is no backup \"{}\" in repository \"{}\"", label,
                   repository.store().location())
      .WithHint(labels.empty() ? "The repository holds no backup."
                               : fmt::format("The repository holds {}.", ListLabels(labels)));
}

}  // namespace veza
