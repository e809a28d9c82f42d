// The backups whose packs another one names.
#pragma once

#include <span>
#include <string>

#include "core/repository/backup_summary.h"

namespace veza {

// The backup among `backups` that another one names as a source. Null when it is not among them, or
// has another manifest.
const BackupSummary* FindSource(const SourceBackup& source, std::span<const BackupSummary> backups);

// Why FindSource() finds none: a clause to follow its name, "which is missing or damaged" or "and
// another one is in its place". Empty when it finds it. `backups` are the readable ones of the
// repository.
std::string WhySourceIsWrong(const SourceBackup& source, std::span<const BackupSummary> backups);

}  // namespace veza
