#include "pg/archive/archiving.h"

#include "pg/compat.h"

namespace veza::pg {

bool ArchivesWithVeza() {
  const char* const library = strrchr(XLogArchiveLibrary, '/');
  return XLogArchivingActive() &&
         strcmp(library != nullptr ? library + 1 : XLogArchiveLibrary, "veza_backup") == 0;
}

bool IsWithoutArchiver() {
  return RecoveryInProgress() && !XLogArchivingAlways();
}

void RequireArchiving() {
  if (!ArchivesWithVeza()) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("WAL is not archived by veza_backup"),
             errdetail(
                 "A backup cannot be restored without the WAL that was written while it was made."),
             errhint("Set archive_mode = on, wal_level = replica or logical and archive_library = "
                     "'veza_backup', and restart the server.")));
  }
}

}  // namespace veza::pg
