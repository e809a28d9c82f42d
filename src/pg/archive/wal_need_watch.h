// The scheduler's eye on backups of standbys: on a primary, it finishes the segment that one of
// them waits for (core/archive/wal_need.h).
//
// What it costs: one listing of lock/ a minute (so 60 requests an hour), and that only while a
// standby is connected and the current segment holds something and is not finished within some
// seconds. A server without standbys asks nothing, nor does one that is idle and has finished its
// segment, nor a busy one. While a backup runs elsewhere it looks every ten seconds, and reads the
// lock when it has changed, which is every half a minute.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop; does not wait for the store. `config` null: there is no
// repository. Returns how long until the next call, at the latest, in milliseconds. May raise
// ERROR.
long WatchWalNeed(const Config* config, const ServerFacts& facts, bool has_standbys);

// At the next call.
void LookForWalNeedSoon();

}  // namespace veza::pg
