// What the server is set up with, for whoever restores a backup of it: the extensions of each
// database and the settings that differ from their default. The extensions take a connection to
// each database, so each is asked by a short-lived background worker of its own, which runs no SQL
// (database_connection.h).
#pragma once

#include "pg/backup/database_list.h"
#include "pg/postgres.h"

namespace veza::pg {

// What a database answered, in plain memory.
struct InventoryItem {
  char kind;             // 'e': an extension; 's': a setting
  const char* database;  // of an extension
  const char* name;
  const char* value;  // the version, or the value
  InventoryItem* next;
};

// In the current memory context. A database that cannot be asked (no worker slot, no connections
// allowed, too slow, an error in it) is left out, with a WARNING when that is not its own wish: a
// backup does not fail for it. Called by the backup worker alone.
InventoryItem* TakeInventory(const DatabaseRow* databases);

}  // namespace veza::pg
