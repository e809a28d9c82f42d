#include "pg/backup/database_list.h"

#include "pg/compat.h"

extern "C" {
#include <access/heapam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <access/tableam.h>
#include <access/xact.h>
#include <catalog/pg_database.h>
#include <utils/snapmgr.h>
}

namespace veza::pg {

namespace {

// DATCONNLIMIT_INVALID_DB, which the first minor versions of 15 do not have.
constexpr int32 kInvalidDatabase = -2;

}  // namespace

// Reads them as autovacuum's launcher does (get_database_list in postmaster/autovacuum.c).
DatabaseRow* ReadDatabaseRows() {
  MemoryContext result_context = CurrentMemoryContext;
  DatabaseRow* rows = nullptr;

  StartTransactionCommand();
  (void)GetTransactionSnapshot();
  Relation relation = table_open(DatabaseRelationId, AccessShareLock);
  TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
  for (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection); HeapTupleIsValid(tuple);
       tuple = heap_getnext(scan, ForwardScanDirection)) {
    const auto* const form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    auto* const row =
        static_cast<DatabaseRow*>(MemoryContextAllocZero(result_context, sizeof(DatabaseRow)));
    row->oid = form->oid;
    row->name = form->datname;
    row->row_xid = HeapTupleHeaderGetRawXmin(tuple->t_data);
    row->tablespace = form->dattablespace;
    row->allows_connections = form->datallowconn;
    row->is_invalid = form->datconnlimit == kInvalidDatabase;
    row->next = rows;
    rows = row;
  }
  table_endscan(scan);
  table_close(relation, AccessShareLock);
  CommitTransactionCommand();
  MemoryContextSwitchTo(result_context);
  return rows;
}

}  // namespace veza::pg
