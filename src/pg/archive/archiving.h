// Whether this server archives its WAL with veza_backup, which every backup needs.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

bool ArchivesWithVeza();

// Whether this server has no archiver: it is in recovery, and archive_mode is not `always`. Then a
// .ready only says what is sent after a promotion (streamed_wal.h).
bool IsWithoutArchiver();

// Raises an ERROR, with a hint, unless this server archives with veza_backup.
void RequireArchiving();

}  // namespace veza::pg
