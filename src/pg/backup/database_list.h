// The databases of the cluster, read from pg_database without a connection to any of them.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Plain memory, so that errors may pass over it.
struct DatabaseRow {
  Oid oid;
  NameData name;
  TransactionId row_xid;  // that has made the row
  Oid tablespace;         // where its directory is
  bool allows_connections;
  bool is_invalid;  // its DROP DATABASE was interrupted
  DatabaseRow* next;
};

// The rows are in the current memory context. Uses a transaction of its own, which has ended when
// it returns.
DatabaseRow* ReadDatabaseRows();

}  // namespace veza::pg
