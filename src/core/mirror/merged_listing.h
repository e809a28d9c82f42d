// The objects of two stores side by side.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// An object of one name. At least one of the two is there.
struct MergedObject {
  std::string name;
  std::optional<ObjectInfo> in_first;
  std::optional<ObjectInfo> in_second;
};

// Calls `each` for every name that begins with `prefix`, in byte order. Both stores are listed as
// it goes, so they may be as large as they like: about a thousand names are held in memory. Stops
// at the first error, that of `each` included.
Status ListMerged(Store& first, Store& second, std::string_view prefix,
                  const std::function<Status(const MergedObject&)>& each);

}  // namespace veza
