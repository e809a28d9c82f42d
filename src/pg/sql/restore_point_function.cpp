// Implements veza_backup_create_restore_point(): a restore point that a target can name, and the
// newest backup from which it can be reached.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/archive/stored_histories.h"
#include "core/repository/backup_order.h"
#include "pg/sql/archive_call.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/sql/sql_function.h"

extern "C" {
#include <access/htup_details.h>
#include <utils/pg_lsn.h>
}

namespace veza::pg {

namespace {

// Finds the newest backup from which recovery can go on to where this server is.
class NewestBackupCall final : public ArchiveCall {
 public:
  NewestBackupCall(TimelineId timeline, Lsn position) : timeline_(timeline), position_(position) {}
  ~NewestBackupCall() override { StopAndJoin(); }
  // Empty if there is none.
  const std::string& label() const { return label_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenOwn());
    ASSIGN_OR_RETURN(const Identity identity, OwnIdentity(*repository));
    ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*repository));
    const WalArchive wal(*repository, identity.system_identifier);
    ASSIGN_OR_RETURN(const TimelineHistory history,
                     ReadServerHistory(wal, facts_.data_directory + "/pg_wal", timeline_));
    ASSIGN_OR_RETURN(const std::vector<MinimalWal> minimal,
                     ReadMinimalWal(*repository, identity.system_identifier));
    std::vector<BackupSummary> backups;
    for (const BackupSummary& backup : catalog.backups) {
      if (backup.system_identifier == identity.system_identifier &&
          history.Contains(backup.timeline, backup.stop_lsn) && backup.stop_lsn <= position_) {
        backups.push_back(backup);
      }
    }
    ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(*repository, backups));
    std::ranges::sort(backups, IsBefore);
    // Mostly the newest one will do. Then only the archive since then is listed.
    for (auto backup = backups.rbegin(); backup != backups.rend() && label_.empty(); ++backup) {
      ASSIGN_OR_RETURN(const std::vector<WalRange> ranges,
                       wal.Ranges(identity.wal_segment_size, backup->start_wal));
      const ArchiveMap map(identity.wal_segment_size, ranges, {history}, minimal);
      if (LeadsHere(*backup, backups, map, lost)) {
        label_ = backup->label;
      }
    }
    return Ok();
  }

  // `map` is of the archive from the start of the backup on. The full of a diff is one of
  // `backups`.
  static bool LeadsHere(const BackupSummary& backup, const std::vector<BackupSummary>& backups,
                        const ArchiveMap& map, const LostParts& lost) {
    const RecoveryWindow window = PlanRecoveryWindow(backups, map, lost);
    if (IsAmong(window.unrestorable, backup.label)) {
      return false;
    }
    const RecoveryObstacle obstacle = ObstacleAfter(backup, map);
    return obstacle.missing_segment.empty() && !obstacle.minimal;
  }

  const TimelineId timeline_;
  const Lsn position_;
  std::string label_;
};

// What recovery_target_name cannot be, is no name here: pg_create_restore_point() takes an empty
// one, and one with line breaks, which no file of settings can hold.
void RequireName(const char* name) {
  const std::size_t length = strlen(name);
  bool is_plain = true;
  for (const char* at = name; *at != '\0'; ++at) {
    const auto byte = static_cast<unsigned char>(*at);
    is_plain = is_plain && byte >= 0x20 && byte != 0x7F;
  }
  if (length == 0 || length >= MAXFNAMELEN || !is_plain) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the name of a restore point has 1 to %d bytes and no control "
                           "characters",
                           MAXFNAMELEN - 1)));
  }
}

}  // namespace
}  // namespace veza::pg

// The backup is looked for first: without the repository there is no restore point.
VEZA_SQL_FUNCTION(veza_backup_create_restore_point) {
  using namespace veza::pg;
  const char* const name = text_to_cstring(PG_GETARG_TEXT_PP(0));
  RequireName(name);
  if (RecoveryInProgress()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("a restore point cannot be made on a standby"),
                    errhint("Connect to the primary.")));
  }
  if (!XLogIsNeeded()) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("WAL level not sufficient for creating a restore point"),
                    errhint("Set wal_level to \"replica\" or \"logical\".")));
  }
  TupleDesc description = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE ||
      description->natts != 2) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the result must be two columns")));
  }
  auto* const call =
      NewInContext<NewestBackupCall>(GetWALInsertionTimeLine(), veza::Lsn{GetXLogInsertRecPtr()});
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  Datum values[2] = {LSNGetDatum(XLogRestorePoint(name)), Datum{0}};
  bool nulls[2] = {false, call->label().empty()};
  if (!nulls[1]) {
    values[1] = CStringGetTextDatum(call->label().c_str());
  }
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}
