// Archives a WAL file in one step. The server seals and puts in different threads.
#pragma once

#include <string>

#include "core/archive/wal_archive.h"

namespace veza {

// Seals the file at `path` under the WAL file name `file`, and puts it.
inline Result<PushOutcome> PushWalFile(const WalArchive& archive, const std::string& file,
                                       const std::string& path) {
  ASSIGN_OR_RETURN(const SealedWalFile sealed, archive.Seal(file, path));
  return archive.Put(sealed);
}

}  // namespace veza
