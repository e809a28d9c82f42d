// Whether this server archives its WAL with veza_backup, which every backup needs.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

bool ArchivesWithVeza();

// In recovery, unless archive_mode = always. Then a .ready only says what is sent after a promotion
// (streamed_wal.h).
bool IsWithoutArchiver();

// ERROR with a hint when it does not.
void RequireArchiving();

}  // namespace veza::pg
