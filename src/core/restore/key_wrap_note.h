// Which key wrap has opened the repository last, kept beside the WAL files of a recovery.
//
// wal-get is a process of its own for each file, and what one of them has tried in vain the next
// one does not know. Whoever can write to the store could otherwise have each of them run scrypt
// for wraps that open nothing, before ours comes.
#pragma once

#include <string>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

// For RepositoryOptions::first_wrap. Empty: there is no note. Whatever it says does no harm.
std::string ReadKeyWrapNote(const std::string& wal_directory);

// After the repository was opened; writes only what is not noted yet.
Status NoteKeyWrap(const std::string& wal_directory, const Repository& repository);

}  // namespace veza
