#include "pg/backup/inventory.h"

#include <chrono>

#include "core/environment.h"
#include "pg/backup/database_connection.h"
#include "pg/compat.h"
#include "pg/shared/shared_memory.h"
#include "pg/shared/shared_workers.h"
#include "pg/worker_description.h"

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <access/xact.h>
#include <catalog/pg_extension.h>
#include <tcop/tcopprot.h>
#include <utils/guc_tables.h>
#include <utils/rel.h>
}

namespace veza::pg {

namespace {

// For all databases together. A backup should not wait longer for this.
constexpr std::chrono::seconds kTimeout{30};

// --- The settings --------------------------------------------------------------------------------

template <typename Record>
bool IsAtBootValue(const config_generic* setting) {
  const auto* const record = reinterpret_cast<const Record*>(setting);
  return *record->variable == record->boot_val;
}

bool IsStringAtBootValue(const config_generic* setting) {
  const auto* const record = reinterpret_cast<const config_string*>(setting);
  const char* const value = *record->variable != nullptr ? *record->variable : "";
  return strcmp(value, record->boot_val != nullptr ? record->boot_val : "") == 0;
}

bool IsDefault(const config_generic* setting) {
  switch (setting->vartype) {
    case PGC_BOOL:
      return IsAtBootValue<config_bool>(setting);
    case PGC_INT:
      return IsAtBootValue<config_int>(setting);
    case PGC_REAL:
      return IsAtBootValue<config_real>(setting);
    case PGC_ENUM:
      return IsAtBootValue<config_enum>(setting);
    case PGC_STRING:
      return IsStringAtBootValue(setting);
  }
  return false;
}

// Leaves out settings of other extensions, because nobody knows what they hold, and those that only
// this process has.
bool IsNoted(const config_generic* setting) {
  const bool is_ours = strncmp(setting->name, "veza_backup.", strlen("veza_backup.")) == 0;
  const bool is_of_process = setting->source == PGC_S_CLIENT || setting->source >= PGC_S_OVERRIDE;
  return (setting->flags & GUC_NO_SHOW_ALL) == 0 && setting->context != PGC_INTERNAL &&
         !is_of_process && (is_ours || strchr(setting->name, '.') == nullptr) &&
         !IsDefault(setting);
}

// The value may hold a password or a key. Then only the name is recorded.
bool MayBeSecret(const char* name) {
  constexpr const char* kWords[] = {"conninfo", "command", "passphrase",
                                    "password", "secret",  "_key"};
  for (const char* word : kWords) {
    if (strstr(name, word) != nullptr) {
      return true;
    }
  }
  return false;
}

InventoryItem* Prepend(const InventoryItem& item, InventoryItem* items) {
  auto* const first = static_cast<InventoryItem*>(palloc0(sizeof(InventoryItem)));
  *first = item;
  first->next = items;
  return first;
}

// Reads the settings of this process. It is connected to no database, so only the server's
// configuration has set them.
InventoryItem* AddSettings(InventoryItem* items) {
  int count = 0;
  config_generic** const settings = GucVariables(&count);
  for (int i = count - 1; i >= 0; --i) {
    if (IsNoted(settings[i])) {
      const char* const name = pstrdup(settings[i]->name);
      const char* const value = MayBeSecret(name) ? "(set)" : ShowGuc(settings[i]);
      items = Prepend({'s', "", name, value, nullptr}, items);
    }
  }
  return items;
}

// --- The extensions: in the worker ---------------------------------------------------------------

// Two strings an extension, each with its NUL. False: no room for more.
bool Append(SharedInventory* shared, const char* name, const char* version) {
  const std::size_t name_size = strlen(name) + 1;
  const std::size_t version_size = strlen(version) + 1;
  if (shared->size + name_size + version_size > sizeof shared->text) {
    return false;
  }
  char* const end = shared->text + shared->size;
  memcpy(end, name, name_size);
  memcpy(end + name_size, version, version_size);
  shared->size += name_size + version_size;
  return true;
}

// A scan and nothing else: whatever names and operators mean in this database.
void ReadExtensions(SharedInventory* shared) {
  bool has_room = true;
  StartTransactionCommand();
  Relation relation = table_open(ExtensionRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 0, nullptr);
  for (HeapTuple tuple = systable_getnext(scan); has_room && HeapTupleIsValid(tuple);
       tuple = systable_getnext(scan)) {
    const auto* const form = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
    bool is_null = false;
    const Datum version =
        heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
    has_room = Append(shared, NameStr(form->extname), is_null ? "" : TextDatumGetCString(version));
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  CommitTransactionCommand();
  shared->is_whole = has_room;
}

// --- The extensions: in the backup worker --------------------------------------------------------

bool StartWorker(Oid database, BackgroundWorkerHandle** handle) {
  BackgroundWorker worker =
      DescribeWorker("VezaInventoryWorkerMain", "veza_backup inventory", "veza_backup inventory");
  worker.bgw_flags |= BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  worker.bgw_notify_pid = MyProcPid;
  return RegisterDynamicBackgroundWorker(&worker, handle);
}

// False when the deadline has passed. Then the worker was told to stop.
bool WaitForWorker(BackgroundWorkerHandle* handle, SteadyTime deadline) {
  static const uint32 wait_event = WaitEvent("VezaBackupInventory");
  pid_t pid = 0;
  while (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED) {
    if (SystemClock().Steady() >= deadline) {
      TerminateBackgroundWorker(handle);
      return false;
    }
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100, wait_event);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
  }
  return true;
}

InventoryItem* Collect(const SharedInventory* shared, const char* database, InventoryItem* items) {
  for (std::size_t at = 0; at < shared->size;) {
    const char* column[2];
    for (const char*& text : column) {
      text = pstrdup(shared->text + at);
      at += strlen(text) + 1;
    }
    items = Prepend({'e', database, column[0], column[1], nullptr}, items);
  }
  return items;
}

}  // namespace

InventoryItem* TakeInventory(const DatabaseRow* databases) {
  SharedInventory* const shared = GetSharedInventory();
  const SteadyTime deadline = SystemClock().Steady() + kTimeout;
  InventoryItem* items = AddSettings(nullptr);
  int left_out = 0;
  for (const DatabaseRow* row = databases; row != nullptr; row = row->next) {
    if (!row->allows_connections) {
      continue;
    }
    BackgroundWorkerHandle* handle = nullptr;
    shared->size = 0;
    shared->is_whole = false;
    if (SystemClock().Steady() >= deadline || !StartWorker(row->oid, &handle)) {
      ++left_out;
      continue;
    }
    // A worker that has not stopped in time may still write, so no other one may be started.
    if (!WaitForWorker(handle, deadline)) {
      ++left_out;
      break;
    }
    left_out += shared->is_whole ? 0 : 1;
    items = Collect(shared, NameStr(row->name), items);
  }
  if (left_out > 0) {
    ereport(WARNING,
            (errmsg("the extensions of some databases are not noted in the backup"),
             errhint("A background worker reads them in each database. Look for its error in "
                     "the server log, or raise max_worker_processes.")));
  }
  return items;
}

}  // namespace veza::pg

extern "C" PGDLLEXPORT void VezaInventoryWorkerMain(Datum main_argument) {
  using namespace veza::pg;

  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  ConnectToDatabase(DatumGetObjectId(main_argument));
  RequireSharedMemory();
  ReadExtensions(GetSharedInventory());
  proc_exit(0);
}
