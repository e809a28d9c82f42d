// When the recovery that a restore has prepared has ended, its settings go from
// postgresql.auto.conf: a standby that is made from this server takes the file over, and a recovery
// target of ours would end its recovery, too.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop. Returns when to call again, at the latest, in milliseconds.
// Raises no ERROR.
long ResetRecoverySettings();

}  // namespace veza::pg
