// The lines of a manifest (FORMAT.md section 6): one JSON object a record.
#pragma once

#include <optional>
#include <string>

#include "core/codec/json.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"

namespace veza {

// Returns the line without its line feed. `type` is that of the backup.
std::string SerializeRecord(const ManifestRecord& record, BackupType type);

// Parses any record but the first and the last. `object_name` is for messages. kUnsupported when
// the type is unknown. kDataCorrupted when members are missing, have the wrong type, or have values
// that a backup like `backup` cannot have.
Result<ManifestRecord> ParseRecord(const Json& record, const std::string& type,
                                   const BackupSummary& backup, const std::string& object_name);

}  // namespace veza
