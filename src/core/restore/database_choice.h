// Which databases of a backup are restored, and which come back empty.
//
// Of an empty database every file comes back with its size and nothing but zeros, sparse, so that
// nothing of it is fetched and WAL replay still finds the files it writes to. That goes for
// PG_VERSION and pg_filenode.map, too: a server ends a connection to such a database with an error
// that says so, while with a valid directory and catalogs of zeros it would panic
// (relcache.c, load_critical_index). And a PG_VERSION of zeros is the proof that a database was
// left empty, without which the extension drops none (pg/backup/empty_databases.cpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"

namespace veza {

// Both by name, sizes as backup.json has them.
struct DatabaseChoice {
  std::vector<DatabaseSummary> restored;
  std::vector<DatabaseSummary> empty;

  // Whether the file is in a directory, in whatever tablespace, of a database that comes back
  // empty.
  bool LeavesEmpty(std::string_view path) const;
};

// `names` are of databases, or their oids, or several of these with commas between them. What
// initdb has made is restored in any case. kInvalidArgument for a name that no database has (the
// hint lists those there are), or that several have; kFailedPrecondition when the backup does not
// say which databases it has, or comes from a server whose WAL lacks images of full pages, which
// databases of zeros need.
Result<DatabaseChoice> ChooseDatabases(const BackupSummary& backup,
                                       const std::vector<std::string>& names);

}  // namespace veza
