// The lines of a manifest (FORMAT.md section 6): one JSON object a record.
#pragma once

#include <optional>
#include <string>

#include "core/codec/json.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"

namespace veza {

// Without the line end.
std::string SerializeRecord(const ManifestRecord& record);

// A record other than the first and the last. `object_name` is for messages. kUnsupported for a
// type that is not known; kDataCorrupted for members that are missing, of another type, or that a
// backup like `backup` cannot have.
Result<ManifestRecord> ParseRecord(const Json& record, const std::string& type,
                                   const BackupSummary& backup, const std::string& object_name);

}  // namespace veza
