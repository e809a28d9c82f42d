// Drops the databases that `vezactl restore --databases` has left empty.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Called by the scheduler in each round. Once recovery has ended it starts a short-lived worker, if
// the data directory has a list of empty databases. Returns how long the scheduler may sleep as far
// as this is concerned, in milliseconds.
long DropEmptyDatabases();

}  // namespace veza::pg
