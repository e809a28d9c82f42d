#include "pg/archive/wal_dropper.h"

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "pg/archive/wal_disk.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive.h"

extern "C" {
#include <access/xlogarchive.h>
}

namespace veza::pg {

namespace {

// Files that were given up and are still there. The next checkpoint removes them, unless they have
// been offered to the archiver again.
std::vector<std::string> waiting_for_checkpoint;

bool WillBeRemoved(const std::string& file) {
  return IsInPgWal(file) && !XLogArchiveIsReady(file.c_str());
}

Status Decide(const char* file, std::uint64_t drop_below, bool* drop, std::uint64_t* free) {
  // `file` itself has a .ready, so it is not in the list afterwards.
  std::erase_if(waiting_for_checkpoint, std::not_fn(WillBeRemoved));
  ASSIGN_OR_RETURN(const WalDisk disk, LookAtWalDisk());
  *free = disk.free;
  const std::uint64_t coming =
      waiting_for_checkpoint.size() * static_cast<std::uint64_t>(wal_segment_size);
  if (*free + coming < drop_below) {
    waiting_for_checkpoint.emplace_back(file);
    *drop = true;
  }
  return Ok();
}

}  // namespace

bool MayDrop(const char* file, std::uint64_t drop_below) {
  if (drop_below == 0 || !IsXLogFileName(file)) {
    return false;
  }
  bool drop = false;
  std::uint64_t free = 0;
  ErrorReport report;
  if (Failed(CatchExceptions([&] { return Decide(file, drop_below, &drop, &free); }), &report)) {
    Raise(WARNING, &report);
    return false;
  }
  if (drop) {
    ReportDropped(file);
    ereport(
        WARNING,
        (errcode(ERRCODE_DISK_FULL),
         errmsg("WAL file \"%s\" is dropped without being archived: the disk of "
                "pg_wal has only %llu MB free",
                file, static_cast<unsigned long long>(free >> 20)),
         errdetail(
             "Less space is free than veza_backup.archive_drop_below says. Older backups cannot be "
             "restored to a time after this file."),
         errhint("A new backup starts by itself when the repository can be reached.")));
  }
  return drop;
}

}  // namespace veza::pg
