// Whether a data directory may be a copy. A copy has the links of the original, so what is behind
// them is the original's, and no restore may replace it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

// Empty when it is proven that the data directory `target` is the one for which its links were
// made. Otherwise why that is not proven, as sentences for a hint. Two files prove it:
// - the note (kDirectoryNote) that a restore has left, with its path and inode;
// - postmaster.opts, when its -D is this directory. PostgreSQL writes it at each start, and a copy
//   that was never started still names the original.
// A copy that was started at its new place cannot be told from an original.
std::string WhyMaybeCopy(const std::string& target);

// The -D of the arguments in a postmaster.opts, which are in double quotes. Nothing when there is
// none, when it is relative, when another argument sets data_directory, or when a quote is in one.
std::optional<std::string> StartedDirectory(std::string_view options);

// What kDirectoryNote holds in the data directory `target`.
Result<std::string> MakeDirectoryNote(const std::string& target);

}  // namespace veza
