// Drops the databases that `vezactl restore --databases` has left empty.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// The scheduler calls it in each round. When recovery has ended and the data directory has a list
// of empty databases, it starts a short-lived worker. Returns the milliseconds until the scheduler
// must call it again.
long DropEmptyDatabases();

}  // namespace veza::pg
