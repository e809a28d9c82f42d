// The scheduler's eye on the archive: how long WAL has waited, what a loss of the server would cost
// now, and whether the archive is whole.
//
// A primary surveys the archive when it starts, within a second or two of its promotion, every
// hour, and when the repository takes WAL again after some was given up. What is missing there and
// still in pg_wal is offered to the archiver again, whatever its archive status says: a standby
// marks what it streams as done, so nobody else would send what the lost primary had not. What is
// in no pg_wal any more is a gap: it is recorded in the repository and logged, and a new backup is
// asked for.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

struct WatchOutcome {
  long nap_ms;        // when to call again, at the latest
  bool wants_backup;  // from here on nothing can be restored to the present
  bool wants_full;    // and no diff will do
};

// Called in the scheduler's loop; does not wait for the store. `config` null: there is no
// repository. May raise ERROR.
WatchOutcome WatchArchive(const Config* config, const ServerFacts& facts);

// At the next call: another repository, or a backup has ended.
void SurveyArchiveSoon();

}  // namespace veza::pg
