// The scheduler's watch over the index of WAL on a primary (core/archive/index_builder.h): it makes
// what the archiver has not made or has lost, after a restart, a promotion, an upgrade or an
// outage.
//
// A look takes one listing of the index and one of the archive. It makes the index of a limited
// number of segments in one thread, the newest first, and leaves the rest to the next look. While a
// backup runs on this server it does nothing.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop on a primary that archives; does not wait for the store. Returns
// how long it may take until the next call, in milliseconds.
long WatchIndex(const Config& config, const ServerFacts& facts);

// Ends the work that is under way.
void StopIndexing();

// Makes the next call of WatchIndex() look: the repository is another one, or the server was
// promoted.
void LookAtIndexSoon();

}  // namespace veza::pg
