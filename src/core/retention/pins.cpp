#include "core/retention/pins.h"

#include "core/codec/document.h"
#include "core/limits.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/names.h"

namespace veza {

Result<std::set<std::string>> ReadPins(const Repository& repository) {
  std::set<std::string> pins;
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects,
                   ListAtMost(repository.store(), kPinPrefix, limits::kPins));
  for (const ObjectInfo& object : objects) {
    pins.insert(object.name.substr(kPinPrefix.size()));
  }
  return pins;
}

Status PinBackup(const Repository& repository, const std::string& label) {
  RETURN_IF_ERROR(ReadBackup(repository, label));
  const std::string name = PinName(label);
  ASSIGN_OR_RETURN(const std::string text,
                   SignDocument({{"format", 1},
                                 {"label", label},
                                 {"node", repository.options().node},
                                 {"created", FormatUtc(repository.environment().clock->Now())}},
                                repository.seal_policy(), name));
  RETURN_IF_ERROR(PutSmallOnce(repository.store(), name, AsBytes(text)));
  // An expiry that has read the pins before may be deleting the backup at this moment.
  const Result<BackupSummary> still_there = ReadBackup(repository, label);
  if (!still_there) {
    RETURN_IF_ERROR(repository.store().Delete(name));
    return still_there.error();
  }
  return Ok();
}

Status UnpinBackup(const Repository& repository, const std::string& label) {
  const Result<BackupSummary> backup = ReadBackup(repository, label);
  if (!backup) {
    ASSIGN_OR_RETURN(const std::set<std::string> pins, ReadPins(repository));
    if (!pins.contains(label)) {
      return backup.error();
    }
  }
  return repository.store().Delete(PinName(label));
}

Result<bool> IsPinned(const Repository& repository, const std::string& label) {
  bool pinned = false;
  // The label of a diff begins with that of its full.
  RETURN_IF_ERROR(repository.store().List(PinName(label), "", [&](const ObjectInfo&) {
    pinned = true;
    return Ok();
  }));
  return pinned;
}

}  // namespace veza
