#include "core/verify/orphans.h"

#include <algorithm>
#include <string_view>

#include "core/repository/names.h"
#include "core/retention/retention.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

bool IsOfKnownSystem(const Repository& repository, std::string_view name) {
  const auto& identities = repository.identities();
  return std::ranges::any_of(identities, [&](const Identity& identity) {
    if (name == IdentityName(identity.system_identifier)) {
      return true;
    }
    if (const auto index = ParseIndexName(name)) {
      return index->system_identifier == identity.system_identifier;
    }
    const Result<std::string> wal =
        WalObjectName(identity.system_identifier, name.substr(name.rfind('/') + 1));
    return wal && *wal == name;
  });
}

bool IsOurKey(const Repository& repository, std::string_view name) {
  const std::string& key_id = repository.identities().front().key_id;
  return !key_id.empty() && name.starts_with(std::string(kKeyPrefix) + key_id + ".");
}

bool IsBelowLabel(std::string_view name) {
  if (!name.starts_with(kBackupPrefix)) {
    return false;
  }
  const std::string_view rest = name.substr(kBackupPrefix.size());
  return rest.find('/') != std::string_view::npos && ParseLabel(rest.substr(0, rest.find('/')));
}

Result<bool> IsOrphan(const Repository& repository, const std::string& name) {
  if (name.starts_with(kPinPrefix) || name.starts_with(kDamagePrefix)) {
    const std::string label = ParseNamedMark(name).value_or(name.substr(name.find('/') + 1));
    if (!ParseLabel(label)) {
      return true;
    }
    ASSIGN_OR_RETURN(const std::optional<ObjectInfo> backup,
                     HeadIfThere(repository.store(), BackupDocumentName(label)));
    return !backup.has_value();
  }
  return !IsBelowLabel(name) && !IsOfKnownSystem(repository, name) && !IsOurKey(repository, name) &&
         !ParseLockName(name) && !ParseLeaseName(name) && name != kFormatMarkName &&
         !name.starts_with(kProbePrefix) && !name.starts_with(kDrillPrefix) &&
         !name.starts_with(kGapPrefix);
}

}  // namespace

Status FindOrphans(VerifySession& session) {
  Store& store = session.repository().store();
  ASSIGN_OR_RETURN(const TimePoint now, store.Now());
  RETURN_IF_ERROR(store.ListFragments([&](const ObjectInfo& fragment) {
    if (now - fragment.modified > kLeftOverAge) {
      session.findings().AddOrphan(fragment.name);
    }
    return Ok();
  }));
  return session.repository().store().List("", "", [&](const ObjectInfo& object) -> Status {
    ASSIGN_OR_RETURN(const bool orphan, IsOrphan(session.repository(), object.name));
    if (orphan) {
      session.findings().AddOrphan(object.name);
    }
    return Ok();
  });
}

}  // namespace veza
