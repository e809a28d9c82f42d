#include "pg/backup/database_connection.h"

#include "pg/compat.h"

namespace veza::pg {

namespace {

struct Override {
  const char* setting;
  const char* value;
};

// Settings of a role or a database that could disturb a scan or a command. With this source our
// values win over those that InitPostgres() reads from pg_db_role_setting.
constexpr Override kOverrides[] = {
    {"search_path", "pg_catalog"},
    {"role", "none"},
    {"statement_timeout", "0"},
    {"lock_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
#if PG_VERSION_NUM >= 170000
    {"transaction_timeout", "0"},
    {"event_triggers", "off"},
#endif
    {"default_transaction_isolation", "read committed"},
    {"default_transaction_read_only", "off"},
    {"default_transaction_deferrable", "off"},
};

void OverrideSettings() {
  for (const Override& override : kOverrides) {
    SetConfigOption(override.setting, override.value, PGC_SUSET, PGC_S_OVERRIDE);
  }
}

}  // namespace

void ConnectToDatabase(Oid database) {
  OverrideSettings();
  BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
}

void ConnectToDatabase(const char* name) {
  OverrideSettings();
  BackgroundWorkerInitializeConnection(name, nullptr, BGWORKER_BYPASS_ALLOWCONN);
}

}  // namespace veza::pg
