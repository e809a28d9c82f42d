// Reads veza_backup.conf, or any postgresql.conf, the way the server does (utils/misc/guc-file.l of
// PostgreSQL 15 to 18): with the same tokens, quoting, escapes and include directives. A later line
// wins over an earlier one.
//
// Only "veza_backup.*" settings are interpreted. Lines with other names only have to be well
// formed.
#pragma once

#include <string>
#include <vector>

#include "core/config/settings.h"
#include "core/error.h"

namespace veza {

// Reads the file and the files that it includes. Refuses unknown "veza_backup." names; the server
// only warns of them. Does not validate values: BuildConfig (config.h) validates those that are in
// force. Messages name the file and the line. They quote no value, because any value may be a
// secret. kInvalidArgument for a syntax error; kNotFound, kPermissionDenied or kIo for a file that
// cannot be read.
Result<SettingValues> ParseConfFile(const std::string& path);

// Returns the first unknown "veza_backup." name in the file and the files that it includes. Empty
// when there is none. The errors are those of ParseConfFile(), except for unknown names.
Result<std::string> UnknownNameIn(const std::string& path);

// Lists `path` and the files that it includes, each once, so that they can be searched. Never
// fails: a file that cannot be read or understood is passed over, because the server, too, may run
// with files that were broken or added after it started. Lists at most 4096 files.
std::vector<std::string> ListConfFiles(const std::string& path);

}  // namespace veza
