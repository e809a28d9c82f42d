#include "core/repository/pack_list.h"

#include <string_view>
#include <utility>

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

// Counts the packs of one backup. They come in the order of their numbers.
struct PackCount {
  std::uint64_t wanted = 0;
  std::uint32_t next = 1;  // all before it are there
};

}  // namespace

Result<MissingPacks> FindMissingPacks(const Repository& repository,
                                      std::span<const BackupSummary> backups) {
  std::map<std::string, PackCount, std::less<>> counts;
  for (const BackupSummary& backup : backups) {
    counts[backup.label].wanted = backup.packs;
  }
  RETURN_IF_ERROR(
      repository.store().List(kBackupPrefix, "", [&](const ObjectInfo& object) -> Status {
        const std::string_view rest = std::string_view(object.name).substr(kBackupPrefix.size());
        const auto found = counts.find(rest.substr(0, rest.find('/')));
        if (found != counts.end() && object.size > 0 &&
            ParsePackName(found->first, object.name) == found->second.next) {
          ++found->second.next;
        }
        return Ok();
      }));
  MissingPacks missing;
  for (const auto& [label, count] : counts) {
    if (count.next <= count.wanted) {
      missing[label] = PackName(label, count.next);
    }
  }
  return missing;
}

std::string DescribeMissing(const BackupSummary& backup, const MissingPacks& missing) {
  if (const auto own = missing.find(backup.label); own != missing.end()) {
    return fmt::format("object \"{}\" is missing", own->second);
  }
  for (const SourceBackup& source : backup.sources) {
    if (const auto other = missing.find(source.label); other != missing.end()) {
      return fmt::format("{} lacks object \"{}\"", NameBackup(source.label), other->second);
    }
  }
  return "";
}

}  // namespace veza
