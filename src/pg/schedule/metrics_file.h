// Writes the file for node_exporter's textfile collector (setting metrics_file).
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"

namespace veza::pg {

// Called in the scheduler's loop. Does not wait for the store. Writes the file every 30 seconds.
// The repository is read every ten minutes, and after each backup. Returns after how many
// milliseconds it has to be called again at the latest. `config` is null when there is no
// repository.
long KeepMetricsFile(const Config* config, const ServerFacts& facts);

// Called when the repository has changed: the next file is written at once, from a new reading.
void RefreshMetricsSoon();

}  // namespace veza::pg
