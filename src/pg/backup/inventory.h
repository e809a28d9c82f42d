// Collects what a user who restores the backup needs to know about the server: the extensions of
// each database, and the settings that differ from their defaults. The extensions need a connection
// to each database. So for each database a short-lived background worker reads them, without SQL
// (database_connection.h).
#pragma once

#include "pg/backup/database_list.h"
#include "pg/postgres.h"

namespace veza::pg {

// An extension or a setting, in plain memory.
struct InventoryItem {
  char kind;             // 'e': an extension; 's': a setting
  const char* database;  // of an extension
  const char* name;
  const char* value;  // the version, or the value
  InventoryItem* next;
};

// The items are in the current memory context. A database is left out when its extensions cannot be
// read: it allows no connections, there is no worker slot, it is too slow, or there was an error. A
// WARNING says so, except when it allows no connections: a backup does not fail for this. Only the
// backup worker calls it.
InventoryItem* TakeInventory(const DatabaseRow* databases);

}  // namespace veza::pg
