// The scheduler's textfile for node_exporter: setting metrics_file.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"

namespace veza::pg {

// Called in the scheduler's loop; does not wait for the store. Writes the file every half minute,
// with what the repository said at most ten minutes ago (after a backup: anew). Returns when to
// call again, in milliseconds, at the latest. `config` null: there is no repository.
long KeepMetricsFile(const Config* config, const ServerFacts& facts);

// The repository has changed.
void RefreshMetricsSoon();

}  // namespace veza::pg
