// Checks that the packs of a backup are in the repository, by a listing.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

using PackSizes = std::map<std::uint32_t, std::uint64_t>;  // by number

// Checks that each pack of `wanted` exists under `label` and has the given size. kDataCorrupted
// otherwise.
Status RequirePacks(const Repository& repository, const std::string& label, PackSizes wanted);

}  // namespace veza
