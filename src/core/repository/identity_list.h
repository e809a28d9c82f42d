// Which objects below identity/ are identities (FORMAT.md section 5). Others belong to no system
// and are passed over: nobody could ever put them back. `vezactl verify` lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// The system identifier, if IdentityName() (names.h) makes this name of one. initdb puts the
// seconds since 1970 into its upper 32 bits (PostgreSQL's access/transam/xlog.c), so a number below
// 2^32 is none.
std::optional<std::uint64_t> ParseIdentityName(std::string_view name);

// The identities, without their texts. kDataCorrupted when there are more than limits::kIdentities,
// or more than limits::kForeignIdentities other names.
Result<std::vector<ObjectInfo>> ListIdentities(Store& store);

}  // namespace veza
