// What stands in the place of backup.json when the remains of a backup that failed are removed: its
// maker may be a process that was stopped, and must find the name taken when it wants to commit
// (FORMAT.md section 7).
#pragma once

#include <string>
#include <string_view>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza {

Result<std::string> SerializeTombstone(const std::string& label, const std::string& node,
                                       TimePoint created, const SealPolicy& policy);

// Whether `text`, stored as backup.json of `label`, is a tombstone with a good signature.
bool IsTombstone(std::string_view text, std::string_view label, const SealPolicy& policy);

}  // namespace veza
