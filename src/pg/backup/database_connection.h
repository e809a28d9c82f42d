// Connects a worker of this library to a database of the users. Every worker that needs a database
// comes here.
//
// A worker is a superuser, and the owner of a database decides what a name or an operator means in
// it (ALTER DATABASE ... SET search_path). So no worker runs SQL. It scans catalogs, and changes
// objects that belong to no database by the server's own functions. test/support/check_layering.sh
// fails when the library calls SPI, or connects anywhere else.
//
// What the server itself does when a worker connects is safe: login event triggers and
// session_preload_libraries are for clients only (15 to 18).
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Like BackgroundWorkerInitializeConnectionByOid(). Settings of the database or the role that could
// hinder the worker are not in force: timeouts, another role, read-only transactions.
void ConnectToDatabase(Oid database);
// Connects by name, even to a database that allows no connections. FATAL when there is no such
// database.
void ConnectToDatabase(const char* name);

}  // namespace veza::pg
