// The entry point of the library that the server loads.

#include "pg/settings.h"
//
#include "pg/postgres.h"
#include "pg/schedule/scheduler.h"
#include "pg/shared/shared_memory.h"

extern "C" {

#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "veza_backup", .version = VEZA_VERSION);
#else
PG_MODULE_MAGIC;
#endif

// Also runs in an archiver or a session of a server that did not preload the library. The settings
// exist there all the same. Whatever needs shared memory raises an error that says how to preload
// the library.
// NOLINTNEXTLINE(clang-diagnostic-reserved-identifier): the server looks for this name
PGDLLEXPORT void _PG_init(void) {
  veza::pg::DefineSettings();
  if (process_shared_preload_libraries_in_progress) {
    veza::pg::RequestSharedMemory();
    veza::pg::RegisterScheduler();
  }
}

}  // extern "C"
