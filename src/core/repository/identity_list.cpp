#include "core/repository/identity_list.h"

#include <charconv>

#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

std::optional<std::uint64_t> ParseIdentityName(std::string_view name) {
  constexpr std::uint64_t kSmallest = std::uint64_t{1} << 32U;
  if (!name.starts_with(kIdentityPrefix)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(kIdentityPrefix.size());
  std::uint64_t system_identifier = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), system_identifier);
  if (error != std::errc() || system_identifier < kSmallest ||
      IdentityName(system_identifier) != name) {
    return std::nullopt;
  }
  return system_identifier;
}

Result<std::vector<ObjectInfo>> ListIdentities(Store& store) {
  std::vector<ObjectInfo> identities;
  std::size_t foreign = 0;
  RETURN_IF_ERROR(store.List(kIdentityPrefix, "", [&](const ObjectInfo& object) -> Status {
    if (!ParseIdentityName(object.name)) {
      return ++foreign > limits::kForeignIdentities
                 ? TooManyObjects(store, kIdentityPrefix, limits::kForeignIdentities)
                 : Ok();
    }
    if (identities.size() == limits::kIdentities) {
      return TooManyObjects(store, kIdentityPrefix, limits::kIdentities);
    }
    identities.push_back(object);
    return Ok();
  }));
  return identities;
}

}  // namespace veza
