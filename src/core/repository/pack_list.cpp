#include "core/repository/pack_list.h"

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
  return RequireAll(repository, [&](std::uint32_t source) {
    return source == 0 ? backup.label : backup.sources.at(source - 1).label;
  });
}

Status NamedPacks::RequireAll(const Repository& repository,
                              const std::function<std::string(std::uint32_t)>& label_of) {
  for (auto& [source, sizes] : sizes_) {
    RETURN_IF_ERROR(RequirePacks(repository, label_of(source), std::move(sizes)));
  }
  return Ok();
}

}  // namespace veza
