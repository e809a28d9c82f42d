// The differences between PostgreSQL 15, 16, 17 and 18 that concern this library, in one place.
#pragma once

#include "pg/postgres.h"

extern "C" {
#if PG_VERSION_NUM >= 160000
#include <access/xlogbackup.h>
#include <archive/archive_module.h>
#else
#include <postmaster/pgarch.h>
#endif
#include <access/xlog_internal.h>
#include <nodes/pg_list.h>
#include <postmaster/pgarch.h>
#include <replication/message.h>
#include <utils/guc_tables.h>
}

#if PG_VERSION_NUM < 150000
#error "veza_backup needs PostgreSQL 15 or newer"
#endif

// The arguments for "%X/%X". Replaces LSN_FORMAT_ARGS, whose type check in 15 is not valid C++.
#define VEZA_LSN(lsn) static_cast<uint32>((lsn) >> 32), static_cast<uint32>(lsn)

namespace veza::pg {

// --- GUC memory: malloc until 15, a memory context of its own since 16 ---------------------------

inline char* GucStrdup(const char* text) {
#if PG_VERSION_NUM >= 160000
  return guc_strdup(LOG, text);
#else
  return strdup(text);
#endif
}

inline void GucFree(void* memory) {
#if PG_VERSION_NUM >= 160000
  guc_free(memory);
#else
  free(memory);
#endif
}

// --- The table of settings: an array until 15, a hash table since 16 -----------------------------

inline config_generic** GucVariables(int* count) {
#if PG_VERSION_NUM >= 160000
  return get_guc_variables(count);
#else
  *count = GetNumConfigOptions();
  return get_guc_variables();
#endif
}

inline void FreeGucVariables(config_generic** variables) {
#if PG_VERSION_NUM >= 160000
  pfree(variables);
#else
  (void)variables;  // the array belongs to the server
#endif
}

// The value as SHOW displays it, whatever the role of the session may see.
inline const char* ShowGuc(config_generic* setting) {
#if PG_VERSION_NUM >= 160000
  return ShowGUCOption(setting, true);
#else
  // Settings that only superusers see are texts, so they have no unit that would be missing here.
  if ((setting->flags & GUC_SUPERUSER_ONLY) != 0) {
    const char* const value = GetConfigOption(setting->name, false, false);
    return pstrdup(value != nullptr ? value : "");
  }
  return GetConfigOptionByName(setting->name, nullptr, false);
#endif
}

// --- Starting and stopping a backup: StringInfo until 15, BackupState since 16 -------------------

// Allocated in the memory context that is current at BackupStart().
struct ServerBackup {
#if PG_VERSION_NUM >= 160000
  BackupState* state;
#else
  StringInfo label_file;
  XLogRecPtr start_lsn;
  TimeLineID start_timeline;
  XLogRecPtr stop_lsn;
  TimeLineID stop_timeline;
#endif
  StringInfo tablespace_map;
};

// Both functions may raise ERROR. The caller must have called
// register_persistent_abort_backup_handler().
inline ServerBackup* BackupStart(const char* label, bool fast) {
  auto* backup = static_cast<ServerBackup*>(palloc0(sizeof(ServerBackup)));
  List* tablespaces = NIL;
  backup->tablespace_map = makeStringInfo();
#if PG_VERSION_NUM >= 160000
  backup->state = static_cast<BackupState*>(palloc0(sizeof(BackupState)));
  do_pg_backup_start(label, fast, &tablespaces, backup->state, backup->tablespace_map);
#else
  backup->label_file = makeStringInfo();
  backup->start_lsn = do_pg_backup_start(label, fast, &backup->start_timeline, backup->label_file,
                                         &tablespaces, backup->tablespace_map);
#endif
  return backup;
}

inline void BackupStop(ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  do_pg_backup_stop(backup->state, false);
#else
  backup->stop_lsn = do_pg_backup_stop(backup->label_file->data, false, &backup->stop_timeline);
#endif
}

inline XLogRecPtr BackupStartLsn(const ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  return backup->state->startpoint;
#else
  return backup->start_lsn;
#endif
}

inline TimeLineID BackupStartTimeline(const ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  return backup->state->starttli;
#else
  return backup->start_timeline;
#endif
}

inline TimeLineID BackupStopTimeline(const ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  return backup->state->stoptli;
#else
  return backup->stop_timeline;
#endif
}

inline XLogRecPtr BackupStopLsn(const ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  return backup->state->stoppoint;
#else
  return backup->stop_lsn;
#endif
}

// The content of backup_label.
inline const char* BackupLabelFile(const ServerBackup* backup) {
#if PG_VERSION_NUM >= 160000
  return build_backup_content(backup->state, false);
#else
  return backup->label_file->data;
#endif
}

// --- A WAL record without effect -----------------------------------------------------------------

inline void WriteHarmlessWalRecord() {
  constexpr char kText[] = "check";
#if PG_VERSION_NUM >= 170000
  LogLogicalMessage("veza_backup", kText, sizeof kText, false, false);
#else
  LogLogicalMessage("veza_backup", kText, sizeof kText, false);
#endif
}

// --- Wait events: one catch-all until 16, named ones since 17 ------------------------------------

inline uint32 WaitEvent(const char* name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

}  // namespace veza::pg
