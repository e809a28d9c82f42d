#include "core/retention/pins.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "core/codec/document.h"
#include "core/limits.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/names.h"

namespace veza {

Result<std::set<std::string>> ReadPins(const Repository& repository) {
  std::set<std::string> pins;
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects,
                   ListAtMost(repository.store(), kPinPrefix, limits::kPins));
  for (const ObjectInfo& object : objects) {
    if (!ParseNamedMark(object.name)) {
      pins.insert(object.name.substr(kPinPrefix.size()));
    }
  }
  return pins;
}

namespace {

// Returns whether the object was created by this call for certain. Otherwise it was there before,
// or the answer to a first attempt was lost.
Result<bool> PutPin(const Repository& repository, const std::string& name,
                    const std::string& label) {
  ASSIGN_OR_RETURN(const std::string text,
                   SignDocument({{"format", 1},
                                 {"label", label},
                                 {"node", repository.options().node},
                                 {"created", FormatUtc(repository.environment().clock->Now())}},
                                repository.seal_policy(), name));
  Status put = PutSmall(repository.store(), name, AsBytes(text), PutMode::kCreate);
  if (!put && put.error().code != ErrorCode::kAlreadyExists) {
    return std::move(put.error());
  }
  return put.has_value();
}

}  // namespace

Status PinBackup(const Repository& repository, const std::string& label) {
  RETURN_IF_ERROR(ReadBackup(repository, label));
  const std::string name = PinName(label);
  ASSIGN_OR_RETURN(const bool is_new, PutPin(repository, name, label));
  // An expiry that has read the pins before may be deleting the backup at this moment.
  Result<BackupSummary> still_there = ReadBackup(repository, label);
  if (still_there) {
    return Ok();
  }
  Error& error = still_there.error();
  if (error.code != ErrorCode::kNotFound) {
    return std::move(error).WithContext(
        fmt::format("backup \"{}\" has its pin, but may have been removed before", label));
  }
  // The pin of somebody else stays, as it does whenever a backup is gone.
  const Status deleted = is_new ? repository.store().Delete(name) : Ok();
  if (!deleted) {
    return std::move(error).WithContext(
        fmt::format("pin \"{}\" could not be removed ({})", name, deleted.error().message));
  }
  return std::move(error);
}

Result<PinUnderLock> PinBackupUnderLock(const Repository& repository, const std::string& label) {
  RETURN_IF_ERROR(ReadBackup(repository, label));  // a mistyped label writes nothing
  Result<std::unique_ptr<ClusterLock>> lock =
      ClusterLock::Acquire(repository, {.purpose = "pin of a backup"});
  Status pinned = PinBackup(repository, label);
  if (!lock) {
    RETURN_IF_ERROR(pinned);
    return PinUnderLock{.not_locked = std::move(lock.error())};
  }
  // The pin is what counts. A lock that cannot be released is taken over after its lease.
  if (!pinned) {
    [[maybe_unused]] const Status released = (*lock)->ReleaseWithin(kReleasePatience);
    return std::move(pinned.error());
  }
  PinUnderLock result;
  if (Status held = (*lock)->RequireHeld(); !held) {
    result.not_locked = std::move(held.error());
  }
  if (Status released = (*lock)->Release(); !released) {
    result.not_released = std::move(released.error());
  }
  return result;
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
  // The label of a diff or an incr begins with that of its full.
  RETURN_IF_ERROR(repository.store().List(PinName(label), "", [&](const ObjectInfo& object) {
    pinned = pinned || !ParseNamedMark(object.name);
    return Ok();
  }));
  return pinned;
}

Status MarkAsNamed(const Repository& repository, const std::vector<SourceBackup>& sources) {
  if (sources.empty()) {
    return Ok();
  }
  const std::string full_label = ParseLabel(sources.front().label)->full_label;
  std::set<std::string> marked;
  RETURN_IF_ERROR(repository.store().List(PinName(full_label), "", [&](const ObjectInfo& object) {
    marked.insert(object.name);
    return Ok();
  }));
  std::set<std::string> labels{full_label};
  std::ranges::transform(sources, std::inserter(labels, labels.end()), &SourceBackup::label);
  for (const std::string& label : labels) {
    const std::string name = NamedMarkName(label);
    if (!marked.contains(name)) {
      RETURN_IF_ERROR(PutPin(repository, name, label));
    }
  }
  return Ok();
}

}  // namespace veza
