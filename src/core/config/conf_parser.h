// Reads veza_backup.conf, or any postgresql.conf, the way the server does (utils/misc/guc-file.l of
// PostgreSQL 15 to 18): the same tokens, quoting, escapes and include directives, later lines win.
//
// Only "veza_backup.*" is interpreted; other names only have to be well formed.
#pragma once

#include <string>
#include <vector>

#include "core/config/settings.h"
#include "core/error.h"

namespace veza {

// Reads the file and what it includes. Unlike the server, which warns, refuses unknown
// "veza_backup." names. Values are not validated here: BuildConfig (config.h) does it, for those
// that are in force. Messages name file and line, and quote no value: any may be a secret.
// kInvalidArgument for a syntax error; kNotFound, kPermissionDenied or kIo for a file that cannot
// be read.
Result<SettingValues> ParseConfFile(const std::string& path);

// The first "veza_backup." name in the file, and in what it includes, that is none of ours; empty:
// there is none. The other errors are those of ParseConfFile.
Result<std::string> UnknownNameIn(const std::string& path);

// `path` and all that it includes, each once, for a search in them. No error: what cannot be read
// or understood is passed over, as the server does with files that have come since it started. Not
// more than some thousand.
std::vector<std::string> ListConfFiles(const std::string& path);

}  // namespace veza
