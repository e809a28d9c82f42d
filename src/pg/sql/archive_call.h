// What the SQL functions share that look at the WAL in the repository.
#pragma once

#include <memory>

#include "core/archive/archive_map.h"
#include "pg/sql/rows_call.h"

namespace veza::pg {

class ArchiveCall : public RowsCall {
 protected:
  // The following are called in the thread.
  // Opens the repository, which must know this server's system.
  Result<std::unique_ptr<Repository>> OpenOwn();
  // Of this server's system.
  Result<Identity> OwnIdentity(const Repository& repository);
  Result<ArchiveMap> ReadArchive(const Repository& repository);
};

}  // namespace veza::pg
