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
using PackCounts = std::map<std::string, PackCount, std::less<>>;

PackCounts CountsOf(std::span<const BackupSummary> backups) {
  PackCounts counts;
  for (const BackupSummary& backup : backups) {
    counts[backup.label].wanted = backup.packs;
  }
  return counts;
}

Status CountPacks(const Repository& repository, std::string_view prefix, PackCounts& counts) {
  return repository.store().List(prefix, "", [&](const ObjectInfo& object) -> Status {
    std::string_view rest = object.name;
    if (!rest.starts_with(kBackupPrefix)) {
      return Ok();
    }
    rest.remove_prefix(kBackupPrefix.size());
    const auto found = counts.find(rest.substr(0, rest.find('/')));
    if (found != counts.end() && object.size > 0 &&
        ParsePackName(found->first, object.name) == found->second.next) {
      ++found->second.next;
    }
    return Ok();
  });
}

// Whether the store does not answer, and not one object or place in it.
bool IsOfTheStore(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded ||
         error.code == ErrorCode::kCancelled || error.code == ErrorCode::kInternal;
}

}  // namespace

Result<MissingPacks> FindMissingPacks(const Repository& repository,
                                      std::span<const BackupSummary> backups) {
  MissingPacks missing;
  PackCounts counts = CountsOf(backups);
  Status counted = CountPacks(repository, kBackupPrefix, counts);
  if (!counted && IsOfTheStore(counted.error())) {
    return std::move(counted.error());
  }
  if (!counted) {
    counts = CountsOf(backups);
    for (const BackupSummary& backup : backups) {
      counted = CountPacks(repository, BackupDirectory(backup.label), counts);
      if (!counted && IsOfTheStore(counted.error())) {
        return std::move(counted.error());
      }
      if (!counted) {
        missing[backup.label].reason = std::move(counted.error().message);
      }
    }
  }
  for (const auto& [label, count] : counts) {
    if (count.next <= count.wanted && !missing.contains(label)) {
      missing[label].name = PackName(label, count.next);
    }
  }
  return missing;
}

std::string DescribeMissing(const BackupSummary& backup, const MissingPacks& missing) {
  if (const auto own = missing.find(backup.label); own != missing.end()) {
    return own->second.reason.empty() ? fmt::format("object \"{}\" is missing", own->second.name)
                                      : own->second.reason;
  }
  for (const SourceBackup& source : backup.sources) {
    if (const auto other = missing.find(source.label); other != missing.end()) {
      return other->second.reason.empty()
                 ? fmt::format("{} lacks object \"{}\"", NameBackup(source.label),
                               other->second.name)
                 : fmt::format("{}: {}", NameBackup(source.label), other->second.reason);
    }
  }
  return "";
}

}  // namespace veza
