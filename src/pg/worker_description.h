// What PostgreSQL is told of a background worker of this library.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// `function` is exported by the library (exports.map). The worker starts in hot standby, too, and
// is not restarted; the caller changes what is to be different.
inline BackgroundWorker DescribeWorker(const char* function, const char* name, const char* type) {
  BackgroundWorker worker;
  memset(&worker, 0, sizeof worker);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
  worker.bgw_start_time = BgWorkerStart_ConsistentState;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, "veza_backup", sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name);
  strlcpy(worker.bgw_name, name, sizeof worker.bgw_name);
  strlcpy(worker.bgw_type, type, sizeof worker.bgw_type);
  return worker;
}

}  // namespace veza::pg
