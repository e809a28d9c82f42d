// Removes the settings of a restore from postgresql.auto.conf when its recovery has ended. A
// standby that is made from this server copies the file, and the recovery target in it would end
// the standby's recovery as well.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop. Returns after how many milliseconds it has to be called again at
// the latest. Raises no ERROR.
long ResetRecoverySettings();

}  // namespace veza::pg
