// From pgBackRest's configuration to a veza_backup.conf. Every option of pgBackRest has a row in
// the table in pgbackrest.cpp, which says what becomes of it.
//
// The repository is never pgBackRest's own place: two tools must not write into one. Neither
// pgBackRest's repository nor its key is read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/import/imported_conf.h"
#include "core/import/old_settings.h"

namespace veza {

// Translates each setting, in order, and then what pgBackRest does where nothing is set and
// veza_backup would do something else. kInvalidArgument for what pgBackRest refuses, too (a setting
// that is there twice, a value that is no number), and when the stanza or the repository is not
// there or has to be chosen. No message quotes a secret.
Result<ImportedConf> ImportPgBackRest(const OldSettings& old, const ImportOptions& options);

// The names of all options that have a row, without the numbers of repositories and servers.
std::vector<std::string_view> PgBackRestOptionNames();

}  // namespace veza
