// Remembers which key wrap has opened the repository last, in a file beside the WAL files of a
// recovery.
//
// Each wal-get is a process of its own, and does not know which wraps an earlier one has tried in
// vain. Anybody who can write to the store could otherwise make each of them run scrypt for useless
// wraps before the right one.
#pragma once

#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

// The name for RepositoryOptions::first_wrap. Empty when there is no note. A wrong note does no
// harm.
std::string ReadKeyWrapNote(const std::string& wal_directory);

// To be called after the repository was opened. Writes only when the note changes.
Status NoteKeyWrap(const std::string& wal_directory, const Repository& repository);

}  // namespace veza
