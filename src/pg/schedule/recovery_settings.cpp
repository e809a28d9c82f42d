// A restore leaves a list of the lines that it has written (core/restore/recovery_settings.h). Only
// these lines are removed, and only those whose value is still what the restore wrote.
//
// ALTER SYSTEM is not used: it needs a connection to a database, and cannot compare a value first.
// But this code takes the lock of ALTER SYSTEM, and writes to the same temporary file.

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "core/restore/recovery_settings.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/schedule/recovery_settings.h"

extern "C" {
#include <access/xlog.h>
#include <common/file_perm.h>
#include <storage/fd.h>
#include <storage/lwlock.h>
#include <utils/guc.h>
}

namespace veza::pg {

namespace {

constexpr long kWhileInRecoveryMs = 1000;
constexpr long kNothingToDoMs = 3'600'000;

constexpr const char* kAutoConf = "postgresql.auto.conf";
constexpr const char* kNewAutoConf = "postgresql.auto.conf.tmp";

// `changed` tells whether the new file has to replace the old one.
Status WriteNewAutoConf(bool* changed) {
  ASSIGN_OR_RETURN(const std::string list, ReadTextFile(kRecoverySettingsFile));
  ASSIGN_OR_RETURN(const std::string before, ReadTextFile(kAutoConf));
  const std::string after = ForgetRecoveryOptions(RemoveListedSettings(before, list));
  *changed = after != before;
  if (!*changed) {
    return Ok();
  }
  const UniqueFd file(open(kNewAutoConf, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                           static_cast<mode_t>(pg_file_create_mode)));
  if (!file.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", kNewAutoConf));
  }
  return WriteAllAt(file.get(), 0, AsBytes(after), fmt::format("file \"{}\"", kNewAutoConf));
}

void Reset() {
  ErrorReport report;
  bool changed = false;
  LWLockAcquire(AutoFileLock, LW_EXCLUSIVE);
  const bool written =
      !Failed(CatchExceptions([&] { return WriteNewAutoConf(&changed); }), &report);
  // durable_rename() makes the content durable first.
  const bool renamed =
      written && (!changed || durable_rename(kNewAutoConf, kAutoConf, WARNING) == 0);
  LWLockRelease(AutoFileLock);
  if (!written) {
    ereport(WARNING,
            (errcode(report.sqlstate),
             errmsg("could not reset the recovery settings of the restore: %s", report.message)));
  }
  if (!renamed) {
    ereport(WARNING, (errmsg("the recovery settings of the restore are still in \"%s\"", kAutoConf),
                      errhint("Remove from it the lines that \"%s\" lists, and then remove \"%s\". "
                              "Otherwise a standby that is made from this server ends its recovery "
                              "at the same target.",
                              kRecoverySettingsFile, kRecoverySettingsFile)));
    return;
  }
  durable_unlink(kRecoverySettingsFile, WARNING);
  if (changed) {
    ereport(LOG,
            (errmsg("reset the recovery settings of the restore in \"%s\"", kAutoConf),
             errdetail("Until the next restart, each reload reports that these settings cannot "
                       "be changed without restarting the server.")));
  }
}

}  // namespace

long ResetRecoverySettings() {
  static bool done = access(kRecoverySettingsFile, F_OK) != 0;
  if (done) {
    return kNothingToDoMs;
  }
  if (RecoveryInProgress()) {
    return kWhileInRecoveryMs;
  }
  Reset();
  done = true;
  return kNothingToDoMs;
}

}  // namespace veza::pg
