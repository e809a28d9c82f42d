// veza_backup: what the server loads.

#include "pg/settings.h"
//
#include "pg/postgres.h"
#include "pg/schedule/scheduler.h"
#include "pg/shared/shared_state.h"

extern "C" {

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "veza_backup", .version = VEZA_VERSION);
#else
PG_MODULE_MAGIC;
#endif

// Also runs in an archiver, or any session, of a server that did not preload the library: then
// there are settings, and what needs shared memory says that it is missing.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the server looks for this name
PGDLLEXPORT void _PG_init(void) {
  veza::pg::DefineSettings();
  if (process_shared_preload_libraries_in_progress) {
    veza::pg::RequestSharedState();
    veza::pg::RegisterScheduler();
  }
}

}  // extern "C"
