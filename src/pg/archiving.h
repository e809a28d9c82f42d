// Whether this server archives its WAL with veza_backup, which every backup needs.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

bool ArchivesWithVeza();

// ERROR with a hint when it does not.
void RequireArchiving();

}  // namespace veza::pg
