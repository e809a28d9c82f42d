// Reads WAL-G's settings: a file with lines KEY=VALUE or with one JSON object, or the environment.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "core/import/old_settings.h"

namespace veza {

// Lines are read as a shell and systemd read them: "export" before the name, quotes around the
// value and lines that begin with '#' mean nothing. `file` names the text in messages, which quote
// nothing of it. kInvalidArgument for text that is neither, and for a value that only a shell can
// read, or that a shell and systemd read in two ways: with quotes, backslashes, "$" or "`" in it,
// or with blanks, comments or operators outside of quotes.
Status ParseWalGText(std::string_view text, const std::string& file, OldSettings& settings);

Result<OldSettings> ReadWalGFile(const std::string& file);
// The variables that WAL-G knows, and all others that begin with its name.
OldSettings WalGVariables(const Variables& environment);

}  // namespace veza
