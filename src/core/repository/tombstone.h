// A tombstone takes the place of backup.json when the remains of a failed backup are removed. The
// process that made the backup may only be suspended. When it goes on and tries to commit, it must
// find the name taken (FORMAT.md section 7).
#pragma once

#include <string>
#include <string_view>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza {

Result<std::string> SerializeTombstone(const std::string& label, const std::string& node,
                                       TimePoint created, const SealPolicy& policy);

// Whether `text`, stored as backup.json of `label`, is a tombstone with a valid signature.
bool IsTombstone(std::string_view text, std::string_view label, const SealPolicy& policy);

// The same without the signature. The content may be forged.
bool IsUnverifiedTombstone(std::string_view text, std::string_view label);

}  // namespace veza
