// Whether the packs of a backup are in the repository, by what a listing tells of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

using PackSizes = std::map<std::uint32_t, std::uint64_t>;  // by number

// Each of `wanted` is there under `label` and has its size. kDataCorrupted otherwise.
Status RequirePacks(const Repository& repository, const std::string& label, PackSizes wanted);

}  // namespace veza
