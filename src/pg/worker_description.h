// The registration data of this library's background workers.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// `function` must be exported by the library (exports.map). The worker may also start in hot
// standby, and is not restarted. The caller changes the members that differ.
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
