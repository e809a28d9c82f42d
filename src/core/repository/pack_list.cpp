#include "core/repository/pack_list.h"

#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "core/repository/backup_sources.h"
#include "core/repository/damage_record.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"

namespace veza {

Status RequirePacks(const Repository& repository, const std::string& label, PackSizes wanted) {
  if (wanted.empty()) {
    return Ok();
  }
  RETURN_IF_ERROR(
      repository.store().List(BackupDirectory(label), "", [&](const ObjectInfo& object) -> Status {
        const auto number = ParsePackName(label, object.name);
        const auto pack = number ? wanted.find(*number) : wanted.end();
        if (pack == wanted.end()) {
          return Ok();
        }
        if (object.size != pack->second) {
          return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" has {} bytes instead of {}",
                           object.name, object.size, pack->second)
              .WithHint("The object is damaged. Restore another backup.");
        }
        wanted.erase(pack);
        return Ok();
      }));
  if (!wanted.empty()) {
    return MissingPart(PackName(label, wanted.begin()->first));
  }
  return Ok();
}

Status NamedPacks::RequireAll(const Repository& repository, const BackupSummary& backup) {
  return RequireAll(repository, [&](std::uint32_t source) { return backup.LabelOf(source); });
}

Status NamedPacks::RequireAll(const Repository& repository,
                              const std::function<std::string(std::uint32_t)>& label_of) {
  for (auto& [source, sizes] : sizes_) {
    RETURN_IF_ERROR(RequirePacks(repository, label_of(source), std::move(sizes)));
  }
  return Ok();
}

namespace {

// Counts the parts of one backup. The packs come in the order of their numbers.
struct PartCount {
  const BackupSummary* backup = nullptr;
  std::uint64_t manifest = 0;   // its size; 0: it is missing
  std::uint32_t next_pack = 1;  // all before it are there

  LostPart Lost() const {
    const std::string name = ManifestName(backup->label);
    if (manifest > 0 && manifest != backup->manifest_size) {
      return {.name = {},
              .reason = fmt::format("object \"{}\" has {} bytes instead of {}", name, manifest,
                                    backup->manifest_size)};
    }
    if (manifest == 0) {
      return {.name = name, .reason = {}};
    }
    return next_pack <= backup->packs ? LostPart{PackName(backup->label, next_pack), {}}
                                      : LostPart();
  }
};
using PartCounts = std::map<std::string, PartCount, std::less<>>;

PartCounts CountsOf(std::span<const BackupSummary> backups) {
  PartCounts counts;
  for (const BackupSummary& backup : backups) {
    counts[backup.label].backup = &backup;
  }
  return counts;
}

Status CountParts(const Repository& repository, std::string_view prefix, PartCounts& counts) {
  return repository.store().List(prefix, "", [&](const ObjectInfo& object) -> Status {
    std::string_view rest = object.name;
    if (!rest.starts_with(kBackupPrefix)) {
      return Ok();
    }
    rest.remove_prefix(kBackupPrefix.size());
    const auto found = counts.find(rest.substr(0, rest.find('/')));
    if (found == counts.end()) {
      return Ok();
    }
    PartCount& count = found->second;
    if (object.name == ManifestName(found->first)) {
      count.manifest = object.size;
    } else if (object.size > 0 && ParsePackName(found->first, object.name) == count.next_pack) {
      ++count.next_pack;
    }
    return Ok();
  });
}

void AddLost(const PartCounts& counts, LostParts& lost) {
  for (const auto& [label, count] : counts) {
    if (LostPart part = count.Lost(); !part.name.empty() || !part.reason.empty()) {
      lost.try_emplace(label, std::move(part));
    }
  }
}

Result<LostParts> FindByListing(const Repository& repository,
                                std::span<const BackupSummary> backups) {
  if (backups.empty()) {
    return LostParts();
  }
  PartCounts counts = CountsOf(backups);
  Status counted = CountParts(repository, kBackupPrefix, counts);
  if (counted) {
    LostParts lost;
    AddLost(counts, lost);
    return lost;
  }
  if (IsOfTheStore(counted.error())) {
    return std::move(counted.error());
  }
  return FindLostPartsOfFew(repository, backups);
}

// The clause for what is wrong with a backup that another one needs.
std::string OfSource(const std::string& label, const LostPart& part) {
  return part.reason.empty() ? fmt::format("{} lacks object \"{}\"", NameBackup(label), part.name)
                             : fmt::format("{}: {}", NameBackup(label), part.reason);
}

}  // namespace

Result<LostParts> FindLostParts(const Repository& repository,
                                std::span<const BackupSummary> backups,
                                std::vector<std::string>* damage_records) {
  ASSIGN_OR_RETURN(LostParts lost, FindByListing(repository, backups));
  ASSIGN_OR_RETURN(LostParts damage, ReadKnownDamage(repository, backups, damage_records));
  lost.merge(damage);
  return lost;
}

Result<LostParts> FindLostPartsOfFew(const Repository& repository,
                                     std::span<const BackupSummary> backups) {
  LostParts lost;
  PartCounts counts = CountsOf(backups);
  for (const BackupSummary& backup : backups) {
    Status counted = CountParts(repository, BackupDirectory(backup.label), counts);
    if (!counted && IsOfTheStore(counted.error())) {
      return std::move(counted.error());
    }
    if (!counted) {
      lost[backup.label].reason = std::move(counted.error().message);
    }
  }
  AddLost(counts, lost);
  return lost;
}

std::string WhyNotRestorable(const BackupSummary& backup, std::span<const BackupSummary> backups,
                             const LostParts& lost) {
  for (const SourceBackup& source : backup.sources) {
    if (std::string wrong = WhySourceIsWrong(source, backups); !wrong.empty()) {
      return fmt::format("{} needs {}, {}", NameBackup(backup.label), NameBackup(source.label),
                         wrong);
    }
  }
  const auto part_of = [&](const std::string& label) -> const LostPart* {
    const auto part = lost.find(label);
    return part == lost.end() || part->second.by == LostPart::By::kDoubt ? nullptr : &part->second;
  };
  if (const LostPart* const own = part_of(backup.label)) {
    return own->reason.empty() ? fmt::format("object \"{}\" is missing", own->name) : own->reason;
  }
  for (const SourceBackup& source : backup.sources) {
    if (const LostPart* const other = part_of(source.label)) {
      return OfSource(source.label, *other);
    }
  }
  return "";
}

std::string WhyUncertain(const BackupSummary& backup, const LostParts& lost) {
  const auto is_doubt = [&](const std::string& label) {
    const auto part = lost.find(label);
    return part != lost.end() && part->second.by == LostPart::By::kDoubt;
  };
  if (is_doubt(backup.label)) {
    return lost.at(backup.label).reason;
  }
  for (const SourceBackup& source : backup.sources) {
    if (is_doubt(source.label)) {
      return OfSource(source.label, lost.at(source.label));
    }
  }
  return "";
}

Result<std::map<std::string, std::string>> FindUnrestorable(const Repository& repository,
                                                            BackupCatalog* catalog) {
  ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(repository, catalog->backups));
  std::map<std::string, std::string> reasons;
  std::set<std::string> removed;
  for (const BackupSummary& backup : catalog->backups) {
    std::string reason = WhyNotRestorable(backup, catalog->backups, lost);
    if (reason.empty()) {
      continue;
    }
    ASSIGN_OR_RETURN(const bool is_there, IsStillThere(repository, backup.label));
    if (is_there) {
      reasons.emplace(backup.label, std::move(reason));
    } else {
      removed.insert(backup.label);
    }
  }
  std::erase_if(catalog->backups,
                [&](const BackupSummary& backup) { return removed.contains(backup.label); });
  return reasons;
}

Result<bool> IsStillThere(const Repository& repository, const std::string& label) {
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> there,
                   HeadIfThere(repository.store(), BackupDocumentName(label)));
  return there.has_value();
}

}  // namespace veza
