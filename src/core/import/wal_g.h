// From WAL-G's settings to a veza_backup.conf. Every setting that WAL-G has for PostgreSQL has a
// row in the table in wal_g.cpp, which says what becomes of it. The repository is never WAL-G's own
// place, and neither its storage nor its key is read.
#pragma once

#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/import/imported_conf.h"
#include "core/import/old_settings.h"

namespace veza {

// Translates each setting, in order, and then what WAL-G does where nothing is set and veza_backup
// would do something else. Of a setting that is there twice the last one counts. kInvalidArgument
// for a value that is no number. No message quotes a value.
Result<ImportedConf> ImportWalG(const OldSettings& old, const ImportOptions& options);

std::vector<std::string_view> WalGSettingNames();

}  // namespace veza
