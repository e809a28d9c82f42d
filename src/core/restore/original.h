// Finds out whether a data directory may be a copy of another one. A copy has the symbolic links of
// the original. So the directories that they lead to belong to the original, and no restore may
// replace them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

// Empty when there is a proof that the links of the data directory `target` were made for it.
// Otherwise the reasons why not, as sentences for a hint. Either of two files is a proof:
// - the note (kDirectoryNote) that a restore has left, with the directory's path and inode;
// - postmaster.opts, if its -D is this directory. PostgreSQL writes it at each start, so in a copy
//   that was never started it names the original.
//
// A copy that was started in its new place cannot be told from an original.
std::string WhyMaybeCopy(const std::string& target);

// The value of -D among the arguments in a postmaster.opts, which are in double quotes. nullopt
// when there is none, when it is relative, when another argument sets data_directory, or when an
// argument contains a quote.
std::optional<std::string> StartedDirectory(std::string_view options);

// The content of kDirectoryNote for the data directory `target`.
Result<std::string> MakeDirectoryNote(const std::string& target);

}  // namespace veza
