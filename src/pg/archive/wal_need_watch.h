// The scheduler's watch over backups on standbys. On a primary, it finishes the WAL segment that
// such a backup waits for (core/archive/wal_need.h).
//
// It costs one listing of lock/ a minute, and only while a standby is connected and the current
// segment holds something and is not finished within some seconds. So a server without standbys
// asks nothing, and neither does a busy one, nor an idle one that has finished its segment. While a
// backup runs elsewhere it looks every ten seconds. It reads the lock when that has changed, which
// is every half a minute.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop; does not wait for the store. `config` is null when there is no
// repository. Returns how long it may take until the next call, in milliseconds. May raise ERROR.
long WatchWalNeed(const Config* config, const ServerFacts& facts, bool has_standbys);

// Makes the next call look at the repository.
void LookForWalNeedSoon();

}  // namespace veza::pg
