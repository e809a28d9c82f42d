// Chooses which databases of a backup are restored, and which come back empty.
//
// All files of an empty database come back with their sizes, as sparse files of zeros. So none of
// its data is fetched, and WAL replay still finds the files that it writes to. PG_VERSION and
// pg_filenode.map are zeros, too. The server then refuses a connection to such a database with an
// error that names the file. With a valid directory and catalogs of zeros it would PANIC
// (relcache.c, load_critical_index). A PG_VERSION of zeros also proves that the database was left
// empty; without this proof the extension does not drop it (pg/backup/empty_databases.cpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

// Both lists are sorted by name. Sizes are those of backup.json.
struct DatabaseChoice {
  std::vector<DatabaseSummary> restored;
  std::vector<DatabaseSummary> empty;

  // Whether the file is in a directory, in any tablespace, of a database that comes back empty.
  bool LeavesEmpty(std::string_view path) const;
};

// Each name is that of a database, or its oid, or several of them separated by commas. The
// databases that initdb creates are always restored. kInvalidArgument for a name that no database
// has (the hint lists the names), or that several have. kFailedPrecondition when the backup does
// not tell which databases it has, or when its server wrote WAL without full-page images, which
// empty databases need.
Result<DatabaseChoice> ChooseDatabases(const BackupSummary& backup,
                                       const std::vector<std::string>& names);

}  // namespace veza
