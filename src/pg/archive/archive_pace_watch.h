// The scheduler's observation of archiving, every ten seconds: how long WAL has waited, how fast it
// is written and archived, and since when WAL of importance exists on this server alone
// (core/archive/archive_pace.h). It asks pg_wal and the server, never the repository.
#pragma once

#include <chrono>

#include "core/environment.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop on a primary that archives. Observes if it is time, or `at_once`,
// and publishes the result (shared_archive_watch.h). Logs when a file has waited for `max_age`; 0:
// never. Logs the first of several failures. The next observation is due ten seconds later, also
// after a failure. May raise ERROR.
void ObserveArchive(std::chrono::seconds max_age, bool at_once);

// When the next observation is due.
SteadyTime NextObservation();

// Called when this server does not archive any more: earlier observations say nothing about a
// server that begins anew.
void ForgetObservation();

}  // namespace veza::pg
