// A restore of some databases lists the others in a file (core/postgres/empty_databases.h). When
// the server has become a primary, a worker with a database connection drops these databases and
// removes the file. If a database cannot be dropped, the list stays, and the worker tries again
// after the next start.
//
// A database is dropped only when three things match: the system identifier of the list, the oid
// and the name, and a PG_VERSION of zeros in its directory, which only such a restore writes. So a
// database that was dropped and created again after the backup is safe, even under the same oid and
// name: WAL replay has given it a valid PG_VERSION.

#include <string>

#include "core/postgres/empty_databases.h"
//
#include "core/storage/file_io.h"
#include "pg/backup/database_connection.h"
#include "pg/backup/empty_databases.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_memory.h"
#include "pg/shared/shared_workers.h"
#include "pg/worker_description.h"

extern "C" {
#include <access/htup_details.h>
#include <access/xact.h>
#include <catalog/pg_database.h>
#include <commands/dbcommands.h>
#include <common/relpath.h>
#include <nodes/makefuncs.h>
#include <nodes/parsenodes.h>
#include <nodes/value.h>
#include <parser/parse_node.h>
#include <storage/fd.h>
#include <storage/lmgr.h>
#include <tcop/tcopprot.h>
#include <utils/snapmgr.h>
#include <utils/syscache.h>
}

namespace veza::pg {

namespace {

constexpr long kTickMs = 1000;
constexpr long kNothingToDoMs = 3'600'000;

// The worker connects to the first of these databases that allows it.
constexpr const char* kPlaces[] = {"postgres", "template1"};
constexpr int kPlaceCount = 2;

constexpr char kListName[] = "veza-empty-databases";
static_assert(kEmptyDatabasesFile == kListName);

// --- In the worker -------------------------------------------------------------------------------

// False when the list cannot be used. `report` says why.
bool ReadList(EmptyDatabases* list, ErrorReport* report) {
  const Status status = CatchExceptions([list]() -> Status {
    ASSIGN_OR_RETURN(const std::string text, ReadTextFile(kListName));
    ASSIGN_OR_RETURN(*list, ParseEmptyDatabases(text));
    return Ok();
  });
  return !Failed(status, report);
}

bool HasVersionOfZeros(const char* directory) {
  char content[16];
  FILE* const file = AllocateFile(psprintf("%s/PG_VERSION", directory), PG_BINARY_R);
  if (file == nullptr) {
    return false;
  }
  const std::size_t size = fread(content, 1, sizeof content, file);
  FreeFile(file);
  for (std::size_t i = 0; i < size; ++i) {
    if (content[i] != 0) {
      return false;
    }
  }
  return size > 0;
}

struct Found {
  bool exists;
  bool empty;
  bool is_template;
  NameData name;
};

// Until the transaction ends, nobody can rename, move, drop or connect to the database.
Found LockAndLookAt(Oid oid) {
  Found found{};
  LockSharedObject(DatabaseRelationId, oid, 0, AccessExclusiveLock);
  HeapTuple const tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(oid));
  if (!HeapTupleIsValid(tuple)) {
    return found;
  }
  const auto* const form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
  found.exists = true;
  found.is_template = form->datistemplate;
  found.name = form->datname;
  found.empty = HasVersionOfZeros(GetDatabasePath(oid, form->dattablespace));
#ifdef DATCONNLIMIT_INVALID_DB
  // A DROP DATABASE of it was interrupted, so its data are lost already.
  found.empty = found.empty || form->datconnlimit == DATCONNLIMIT_INVALID_DB;
#endif
  ReleaseSysCache(tuple);
  return found;
}

void Begin() {
  StartTransactionCommand();
  PushActiveSnapshot(GetTransactionSnapshot());
}

void End() {
  if (ActiveSnapshotSet()) {
    PopActiveSnapshot();
  }
  CommitTransactionCommand();
}

// Makes it no template, because dropdb() refuses one. Takes a transaction of its own, because
// dropdb() also changes the row in place.
void MakeOrdinary(const char* name) {
  AlterDatabaseStmt statement{};
  statement.type = T_AlterDatabaseStmt;
  statement.dbname = pstrdup(name);
  statement.options = list_make1(makeDefElem(
      pstrdup("is_template"), reinterpret_cast<Node*>(makeString(pstrdup("false"))), -1));
  AlterDatabase(make_parsestate(nullptr), &statement, true);
}

// True when the list need not name the database any more. May raise ERROR.
bool DropOne(Oid oid, const char* name) {
  Begin();
  Found found = LockAndLookAt(oid);
  if (found.exists && found.empty && found.is_template && strcmp(NameStr(found.name), name) == 0) {
    MakeOrdinary(name);
    End();
    Begin();
    found = LockAndLookAt(oid);
  }
  bool done = true;
  if (found.exists && !found.empty) {
    ereport(LOG, (errmsg("database \"%s\" is not dropped: it is not the one that was left empty",
                         NameStr(found.name))));
  } else if (found.exists && strcmp(NameStr(found.name), name) != 0) {
    done = false;
    ereport(
        WARNING,
        (errmsg("database \"%s\", which the restore has left empty, is not dropped: its name in "
                "the backup is \"%s\"",
                NameStr(found.name), name),
         errhint("It holds no data. Drop it with DROP DATABASE %s WITH (FORCE).",
                 quote_identifier(NameStr(found.name)))));
  } else if (found.exists) {
    dropdb(name, true, true);
    ereport(LOG, (errmsg("dropped database \"%s\", which the restore has left empty", name)));
  }
  End();
  return done;
}

// Like DropOne(), but an ERROR becomes a WARNING.
bool TryToDrop(Oid oid, const char* name) {
  MemoryContext const context = CurrentMemoryContext;
  volatile bool done = false;
  PG_TRY();
  { done = DropOne(oid, name); }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorData* const error = CopyErrorData();
    FlushErrorState();
    AbortCurrentTransaction();
    ereport(
        WARNING,
        (errcode(error->sqlerrcode),
         errmsg("could not drop database \"%s\", which the restore has left empty: %s", name,
                error->message),
         errhint("Remove what holds it (a subscription: DELETE FROM pg_subscription WHERE "
                 "subdbid = %u), then restart the server, or run DROP DATABASE %s WITH (FORCE).",
                 oid, quote_identifier(name))));
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  return done;
}

// The restore has set ignore_invalid_pages for the databases that are dropped now.
void ResetIgnoreInvalidPages() {
  MemoryContext const context = CurrentMemoryContext;
  PG_TRY();
  {
    StartTransactionCommand();
    VariableSetStmt variable{};
    variable.type = T_VariableSetStmt;
    variable.kind = VAR_RESET;
    variable.name = pstrdup("ignore_invalid_pages");
    AlterSystemStmt statement{};
    statement.type = T_AlterSystemStmt;
    statement.setstmt = &variable;
    AlterSystemSetConfigFile(&statement);
    CommitTransactionCommand();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    ErrorData* const error = CopyErrorData();
    FlushErrorState();
    AbortCurrentTransaction();
    ereport(WARNING, (errcode(error->sqlerrcode),
                      errmsg("could not reset ignore_invalid_pages: %s", error->message),
                      errhint("Remove it from postgresql.auto.conf.")));
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
}

void DropAll() {
  auto* const list = NewInContext<EmptyDatabases>();
  ErrorReport report;
  if (!ReadList(list, &report)) {
    ereport(WARNING,
            (errcode(report.sqlstate), errmsg("no databases are dropped: %s", report.message),
             errhint("Remove file \"%s\" from the data directory.", kListName)));
    return;
  }
  if (list->system_identifier != GetSystemIdentifier()) {
    ereport(WARNING, (errmsg("no databases are dropped: \"%s\" belongs to the cluster with system "
                             "identifier %llu",
                             kListName, static_cast<unsigned long long>(list->system_identifier)),
                      errhint("Remove the file from the data directory.")));
    return;
  }
  bool all_done = true;
  const std::size_t count = list->databases.size();
  for (std::size_t i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const EmptyDatabase* const database = &list->databases[i];
    all_done = TryToDrop(database->oid, database->name.c_str()) && all_done;
  }
  if (all_done) {
    ResetIgnoreInvalidPages();
    durable_unlink(kListName, WARNING);
  }
}

// --- In the scheduler ----------------------------------------------------------------------------

enum class Progress { kUnknown, kWaiting, kRunning, kDone };

Progress progress = Progress::kUnknown;
int place = 0;
BackgroundWorkerHandle* worker_handle = nullptr;

void StartWorker() {
  BackgroundWorker worker =
      DescribeWorker("VezaDropWorkerMain", "veza_backup dropping of empty databases",
                     "veza_backup dropping of empty databases");
  worker.bgw_flags |= BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_main_arg = Int32GetDatum(place);
  worker.bgw_notify_pid = MyProcPid;
  GetSharedDropper()->connected = false;
  MemoryContext const context = MemoryContextSwitchTo(TopMemoryContext);
  const bool started = RegisterDynamicBackgroundWorker(&worker, &worker_handle);
  MemoryContextSwitchTo(context);
  progress = started ? Progress::kRunning : Progress::kDone;
  if (!started) {
    ereport(WARNING, (errmsg("could not start the worker that drops the databases that the restore "
                             "has left empty"),
                      errhint("Raise max_worker_processes and restart the server.")));
  }
}

void WatchWorker() {
  pid_t pid = 0;
  if (GetBackgroundWorkerPid(worker_handle, &pid) != BGWH_STOPPED) {
    return;
  }
  pfree(worker_handle);
  worker_handle = nullptr;
  // There may be no such database.
  const bool try_next = !GetSharedDropper()->connected && ++place < kPlaceCount;
  progress = try_next ? Progress::kWaiting : Progress::kDone;
}

}  // namespace

long DropEmptyDatabases() {
  if (progress == Progress::kUnknown) {
    progress = access(kListName, F_OK) == 0 ? Progress::kWaiting : Progress::kDone;
  }
  if (progress == Progress::kRunning) {
    WatchWorker();
  }
  if (progress == Progress::kWaiting && !RecoveryInProgress()) {
    StartWorker();
  }
  return progress == Progress::kDone ? kNothingToDoMs : kTickMs;
}

}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaDropWorkerMain(Datum main_argument) {
  using namespace veza::pg;

  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  ConnectToDatabase(kPlaces[DatumGetInt32(main_argument)]);
  RequireSharedMemory();
  GetSharedDropper()->connected = true;
  DropAll();
  proc_exit(0);
}
