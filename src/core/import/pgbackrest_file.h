// Reads pgBackRest's configuration: its file, the files beside it, and its environment variables.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/import/old_settings.h"

namespace veza {

// Reads text with pgBackRest's rules (common/ini.c): [section], key=value, blanks around both do
// not count, '#' begins a comment only at the start of a line, nothing is quoted. `file` names it
// in messages, which quote nothing of it. kInvalidArgument for text that pgBackRest refuses, and
// for control characters.
Status ParsePgBackRestText(std::string_view text, const std::string& file, OldSettings& settings);

struct PgBackRestFiles {
  OldSettings settings;
  std::vector<std::string> files;  // that were read
  std::size_t bytes = 0;           // in all of them; at most limits::kImportedFile
};

// Reads `file`; without one what the variables PGBACKREST_CONFIG and PGBACKREST_CONFIG_PATH say, or
// pgBackRest's own defaults. Then *.conf of `include_directory`, which must be there if it is
// given, and is else what PGBACKREST_CONFIG_INCLUDE_PATH says (without `file`), or the directory
// conf.d beside the file. With PGBACKREST_CONFIG alone there is none, as in pgBackRest. The
// variables that begin with PGBACKREST_ come first, because they win.
Result<PgBackRestFiles> ReadPgBackRest(const std::optional<std::string>& file,
                                       const std::optional<std::string>& include_directory,
                                       const Variables& environment);

}  // namespace veza
