// The way into a database of the users, for every worker of this library that needs one.
//
// A worker is a superuser, and the owner of a database decides what a name or an operator means in
// it (ALTER DATABASE ... SET search_path). So no worker runs SQL: it scans catalogs, and changes
// what belongs to no database by the server's own functions. test/support/check_layering.sh finds a
// library that calls SPI, and a connection that is made anywhere else.
//
// What the server itself does for a worker is safe: login event triggers and
// session_preload_libraries are for clients only (15 to 18).
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// As BackgroundWorkerInitializeConnectionByOid(), and none of the settings by which the database or
// the role could hinder the worker is in force: timeouts, another role, read-only transactions.
void ConnectToDatabase(Oid database);
// By name, also to a database that allows no connections. FATAL when there is no such database.
void ConnectToDatabase(const char* name);

}  // namespace veza::pg
