#include "pg/inventory.h"

#include "pg/compat.h"
#include "pg/shared_state.h"
#include "pg/worker_description.h"

extern "C" {
#include <access/xact.h>
#include <catalog/pg_type_d.h>
#include <executor/spi.h>
#include <tcop/tcopprot.h>
#include <utils/snapmgr.h>
}

namespace veza::pg {

namespace {

// For all databases together; a backup has better things to wait for.
constexpr int kTimeoutMs = 30'000;

// Settings whose value may hold a password or a key are only named. Those of other extensions are
// left out, because nobody knows what they hold.
constexpr char kQuery[] = R"(
SELECT 'e', extname::text, extversion FROM pg_catalog.pg_extension
UNION ALL
SELECT 's', name,
       CASE WHEN name ~ '(conninfo|command|passphrase|password|secret|_key)' THEN '(set)'
            ELSE pg_catalog.current_setting(name) END
  FROM pg_catalog.pg_settings
 WHERE $1 AND setting IS DISTINCT FROM boot_val AND context <> 'internal'
   AND source NOT IN ('client', 'session', 'override')
   AND (name !~ '\.' OR name LIKE 'veza\_backup.%')
 ORDER BY 1, 2)";

// Three strings a row, each with its NUL. False: no room for more.
bool Append(SharedState* shared, const char* text) {
  const std::size_t length = strlen(text) + 1;
  if (shared->inventory_size + length > sizeof shared->inventory) {
    return false;
  }
  memcpy(shared->inventory + shared->inventory_size, text, length);
  shared->inventory_size += length;
  return true;
}

void AskDatabase(SharedState* shared, bool settings_too) {
  StartTransactionCommand();
  SPI_connect();
  PushActiveSnapshot(GetTransactionSnapshot());
  Oid types[] = {BOOLOID};
  Datum values[] = {BoolGetDatum(settings_too)};
  if (SPI_execute_with_args(kQuery, 1, types, values, nullptr, true, 0) != SPI_OK_SELECT) {
    ereport(ERROR, (errmsg("could not read the extensions of the database")));
  }
  for (std::uint64_t row = 0; row < SPI_processed; ++row) {
    const std::size_t before = shared->inventory_size;
    for (int column = 1; column <= 3; ++column) {
      const char* const text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
      if (!Append(shared, text != nullptr ? text : "")) {
        shared->inventory_size = before;
        row = SPI_processed;
        break;
      }
    }
  }
  SPI_finish();
  PopActiveSnapshot();
  CommitTransactionCommand();
}

bool StartWorker(Oid database, bool settings_too, BackgroundWorkerHandle** handle) {
  BackgroundWorker worker =
      DescribeWorker("VezaInventoryWorkerMain", "veza_backup inventory", "veza_backup inventory");
  worker.bgw_flags |= BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  worker.bgw_extra[0] = settings_too ? 1 : 0;
  worker.bgw_notify_pid = MyProcPid;
  return RegisterDynamicBackgroundWorker(&worker, handle);
}

// False: the deadline has passed, and the worker was told to stop.
bool WaitForWorker(BackgroundWorkerHandle* handle, TimestampTz deadline) {
  static const uint32 wait_event = WaitEvent("VezaBackupInventory");
  pid_t pid = 0;
  while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED) {
    if (GetCurrentTimestamp() >= deadline) {
      TerminateBackgroundWorker(handle);
      return false;
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return true;
}

InventoryItem* Collect(const SharedState* shared, const char* database, InventoryItem* items) {
  for (std::size_t at = 0; at < shared->inventory_size;) {
    const char* column[3];
    for (const char*& text : column) {
      text = pstrdup(shared->inventory + at);
      at += strlen(text) + 1;
    }
    auto* const item = static_cast<InventoryItem*>(palloc0(sizeof(InventoryItem)));
    *item = {column[0][0], database, column[1], column[2], items};
    items = item;
  }
  return items;
}

}  // namespace

InventoryItem* TakeInventory(const DatabaseRow* databases) {
  SharedState* const shared = GetSharedState();
  const TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kTimeoutMs);
  InventoryItem* items = nullptr;
  bool settings_known = false;
  int left_out = 0;
  for (const DatabaseRow* row = databases; row != nullptr; row = row->next) {
    if (!row->allows_connections) {
      continue;
    }
    BackgroundWorkerHandle* handle = nullptr;
    shared->inventory_size = 0;
    if (GetCurrentTimestamp() >= deadline || !StartWorker(row->oid, !settings_known, &handle)) {
      ++left_out;
      continue;
    }
    // A worker that cannot stop in time may still write: nobody else may be started then.
    if (!WaitForWorker(handle, deadline)) {
      ++left_out;
      break;
    }
    settings_known = settings_known || shared->inventory_size > 0;
    items = Collect(shared, NameStr(row->name), items);
  }
  if (left_out > 0) {
    ereport(WARNING, (errmsg("the extensions of some databases are not noted in the backup"),
                      errhint("Raise max_worker_processes: each database is asked by a "
                              "background worker.")));
  }
  return items;
}

}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaInventoryWorkerMain(Datum main_argument) {
  using namespace veza::pg;

  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(main_argument), InvalidOid, 0);
  AskDatabase(RequireSharedState(), MyBgworkerEntry->bgw_extra[0] != 0);
  proc_exit(0);
}
