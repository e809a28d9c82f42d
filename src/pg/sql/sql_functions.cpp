// The SQL functions that start, list and prepare for backups. Each does its slow part in a
// BackgroundCall, so that Ctrl-C works at any time.

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/backup/suspect_diff.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/drill_record.h"
#include "core/repository/key_restore.h"
#include "core/repository/pack_list.h"
#include "core/repository/repository_marker.h"
#include "core/repository/restore_lease.h"
#include "core/retention/pins.h"
#include "pg/sql/rows_call.h"
//
#include "pg/archive/archiving.h"
#include "pg/backup/backup_slot.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_key.h"
#include "pg/shared/shared_memory.h"
#include "pg/sql/sql_function.h"

extern "C" {
#include <access/htup_details.h>
#include <executor/spi.h>
#include <nodes/parsenodes.h>
}

namespace veza::pg {

namespace {

std::string DescribeFailures(const BackupSummary& backup) {
  std::string text;
  for (const ChecksumFailure& failure : backup.checksum_failure_pages) {
    text += fmt::format("{}{} block {}", text.empty() ? "" : ", ", failure.path, failure.block);
  }
  return text;
}

// First what is wrong with the backup, then what differs from the data directory, then who uses it.
std::optional<std::string> DescribeDetail(const BackupSummary& backup, std::string lost,
                                          const LeaseState* lease) {
  std::string text = std::move(lost);
  const auto add = [&](const std::string& part) {
    text += text.empty() || part.empty() ? part : "; " + part;
  };
  add(DescribeFailures(backup));
  for (const DatabaseSummary& database : DatabasesWithoutFiles(backup)) {
    add(fmt::format("no files of database \"{}\"", database.name));
  }
  if (const std::string suspect = SuspectDiff(backup); !suspect.empty()) {
    add(fmt::format("{}. {}", suspect, kSuspectDiffHint));
  }
  if (!backup.changes_doubt.empty()) {
    add("everything was read, because " + backup.changes_doubt);
  }
  add(DescribeNotes(backup.notes));
  if (backup.is_cut) {
    add("there are more notes than fit into memory");
  }
  if (lease != nullptr) {
    add("in use by " + lease->Holder());
  }
  return text.empty() ? std::nullopt : std::optional(text);
}

const char* DescribeStatus(const BackupSummary& backup) {
  if (backup.checksum_failures > 0) {
    return "page checksum failures";
  }
  if (!DatabasesWithoutFiles(backup).empty()) {
    return "incomplete";
  }
  return SuspectDiff(backup).empty() ? "ok" : "not to be trusted";
}

// `loss` is what WhyNotRestorable() says. `drill` is the latest drill of this backup, `lease` one
// of a restore that uses it. Both may be null.
Row RowOf(const BackupSummary& backup, const std::string& loss, bool pinned,
          const DrillRecord* drill, const LeaseState* lease) {
  return {backup.label,
          BackupTypeName(backup.type),
          loss.empty() ? DescribeStatus(backup) : "not restorable",
          FormatUtc(backup.start_time),
          FormatUtc(backup.stop_time),
          std::to_string(backup.timeline),
          FormatLsn(backup.start_lsn),
          FormatLsn(backup.stop_lsn),
          std::to_string(backup.size),
          std::to_string(backup.stored_size),
          std::to_string(backup.files),
          std::to_string(backup.checksum_failures),
          backup.postgres_version,
          backup.node,
          pinned ? "true" : "false",
          DescribeDetail(backup, loss, lease),
          drill != nullptr ? std::optional(FormatUtc(drill->started)) : std::nullopt,
          drill != nullptr ? std::optional(drill->passed ? "true" : "false") : std::nullopt};
}

Row RowOfUnusable(const std::string& label, const char* status, std::string detail) {
  Row row(18);
  row[0] = label;
  if (const auto parts = ParseLabel(label)) {
    row[1] = BackupTypeName(parts->type);
  }
  row[2] = status;
  row[15] = std::move(detail);
  return row;
}

class InfoCall final : public RowsCall {
 public:
  ~InfoCall() override { StopAndJoin(); }

  // Main thread only. Sets the last backup that failed on this server, unless one has succeeded
  // since.
  void SetFailure(const FailedBackup& failure) {
    failure_label_ = failure.label;
    failure_type_ = BackupTypeName(failure.type);
    failure_ = failure.error.message;
  }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, Open());
    ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(*repository, SummaryParts::kNotes));
    ASSIGN_OR_RETURN(const auto losses, FindUnrestorable(*repository, &catalog));
    ASSIGN_OR_RETURN(const std::set<std::string> pins, ReadPins(*repository));
    ASSIGN_OR_RETURN(const auto drills, ReadLatestDrills(*repository));
    Result<std::vector<LeaseState>> leases = ReadLeases(*repository);
    if (!leases && leases.error().code == ErrorCode::kDataCorrupted) {
      // There are so many leases that expiry refuses to work. The backups can be shown all the
      // same.
      Row row = RowOfUnusable("", "too many leases", leases.error().message);
      row[0].reset();
      rows_.push_back(std::move(row));
      leases = std::vector<LeaseState>();
    }
    RETURN_IF_ERROR(leases);
    for (const BackupSummary& backup : catalog.backups) {
      const auto drill = drills.find(backup.label);
      const auto loss = losses.find(backup.label);
      rows_.push_back(RowOf(
          backup, loss != losses.end() ? loss->second : "", pins.contains(backup.label),
          drill != drills.end() ? &drill->second : nullptr, FindLease(*leases, backup.label)));
    }
    if (catalog.backups.empty()) {
      Row row = RowOfUnusable("", "no backup here yet", repository->store().location());
      row[0].reset();
      rows_.push_back(std::move(row));
    }
    for (const UnfinishedBackup& backup : catalog.unfinished) {
      if (backup.label != failure_label_) {
        rows_.push_back(
            RowOfUnusable(backup.label, "unfinished",
                          "still running, or left by a backup that failed or a deletion that "
                          "was interrupted"));
      }
    }
    if (!failure_.empty()) {
      Row row = RowOfUnusable(failure_label_, "failed", failure_);
      row[0] = failure_label_.empty() ? std::nullopt : std::optional(failure_label_);
      row[1] = failure_type_;
      rows_.push_back(std::move(row));
    }
    for (const BrokenBackup& backup : catalog.broken) {
      rows_.push_back(RowOfUnusable(backup.label, "unreadable", backup.error.message));
    }
    return Ok();
  }

  std::string failure_label_;
  std::string failure_type_;
  std::string failure_;
};

class InitCall final : public RowsCall {
 public:
  explicit InitCall(bool accept_new_system) : accept_new_system_(accept_new_system) {}
  ~InitCall() override { StopAndJoin(); }
  const std::string& location() const { return location_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(std::shared_ptr<Store> store, Connect());
    location_ = store->location();
    RETURN_IF_ERROR(RequireKeptEncryption(facts_.data_directory, location_, config_.cipher));
    Status made = Initialise(store);
    if (made || made.error().code != ErrorCode::kDataCorrupted) {
      return made;
    }
    // Identity or key are lost (core/repository/entrance.h). Without a backup nobody but this
    // server can tell whose repository it was, and the operator has asked to restore them.
    const auto restored =
        RestoreKey(store, Options(), environment_, {.server = MakeIdentity(facts_)});
    if (!restored && restored.error().code == ErrorCode::kConflict) {
      return restored.error();  // the error names the keys
    }
    return restored ? Initialise(store) : made;
  }

  Status Initialise(const std::shared_ptr<Store>& store) {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     Repository::Initialise(store, Options(), environment_, MakeIdentity(facts_),
                                            accept_new_system_));
    return MarkRepository(MakeMarkerPlace(config_, facts_), *repository);
  }

  bool accept_new_system_;
  std::string location_;
};

void RequirePrimary(const char* what) {
  if (RecoveryInProgress()) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("%s cannot be called on a standby", what), errhint("Connect to the primary.")));
  }
}

void RequireArguments(FunctionCallInfo fcinfo, const char* function, int count) {
  for (int i = 0; i < count; ++i) {
    if (PG_ARGISNULL(i)) {
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                      errmsg("the arguments of %s must not be null", function)));
    }
  }
}

// The type of backup that the first argument asks for.
BackupType WantedType(FunctionCallInfo fcinfo) {
  const char* const name = text_to_cstring(PG_GETARG_TEXT_PP(0));
  for (const BackupType type : {BackupType::kFull, BackupType::kDiff, BackupType::kIncr}) {
    if (strcmp(name, BackupTypeName(type)) == 0) {
      return type;
    }
  }
  ErrorReport report;
  if (Failed(CatchExceptions([&]() -> Status {
               return MakeError(ErrorCode::kInvalidArgument, "unknown backup type \"{}\"",
                                Shorten(name, NAMEDATALEN))
                   .WithHint("The type of a backup is \"full\", \"diff\" or \"incr\".");
             }),
             &report)) {
    Raise(ERROR, &report);
  }
  pg_unreachable();
}

// Ends the transaction in which the procedure was called. Its snapshot would hold back vacuum, and
// on a standby block recovery, for as long as the backup takes. The next transaction takes no
// snapshot while it waits.
void ReleaseSnapshot(FunctionCallInfo fcinfo) {
  if (fcinfo->context == nullptr || !IsA(fcinfo->context, CallContext) ||
      castNode(CallContext, fcinfo->context)->atomic) {
    ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                    errmsg("veza_backup_take() cannot be called inside a transaction block"),
                    errhint("Call it outside a transaction block, or use veza_backup_now(), which "
                            "holds a snapshot until the backup has ended.")));
  }
  SPI_connect_ext(SPI_OPT_NONATOMIC);
  SPI_commit();
  SPI_finish();
}

// The result of a procedure with one INOUT parameter.
Datum RecordOf(FunctionCallInfo fcinfo, const char* text) {
  TupleDesc description = nullptr;
  if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE ||
      description->natts != 1) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("the result must be one column")));
  }
  Datum value = CStringGetTextDatum(text);
  bool is_null = false;
  return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), &value, &is_null));
}

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_init) {
  using namespace veza::pg;
  RequirePrimary("veza_backup_init()");
  auto* const call = NewInContext<InitCall>(PG_GETARG_BOOL(0));
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  // What the scheduler has found out about the former repository is no longer true.
  ForgetKey();
  PG_RETURN_TEXT_P(cstring_to_text(call->location().c_str()));
}

// Unlike veza_backup_take(), this holds the snapshot of its statement until the backup has ended.
VEZA_SQL_FUNCTION(veza_backup_now) {
  using namespace veza::pg;
  RequireArguments(fcinfo, "veza_backup_now()", 3);
  const BackupOrder order{.type = WantedType(fcinfo), .fast = PG_GETARG_BOOL(2)};
  const bool wait = PG_GETARG_BOOL(1);
  RequireSharedMemory();
  RequireArchiving();
  PG_RETURN_TEXT_P(cstring_to_text(WaitForBackup(StartBackupWorker(order), wait)));
}

// Holds no snapshot while the backup runs.
VEZA_SQL_FUNCTION(veza_backup_take) {
  using namespace veza::pg;
  RequireArguments(fcinfo, "veza_backup_take()", 3);
  BackupOrder order{.type = WantedType(fcinfo), .fast = PG_GETARG_BOOL(1)};
  order.wait_for_running = PG_GETARG_BOOL(2);
  RequireSharedMemory();
  RequireArchiving();
  ReleaseSnapshot(fcinfo);
  const char* const label = WaitForBackup(StartBackupWorker(order), true);
  PG_RETURN_DATUM(RecordOf(fcinfo, label));
}

VEZA_SQL_FUNCTION(veza_backup_info) {
  using namespace veza::pg;
  auto* const call = NewInContext<InfoCall>();
  PrepareOrRaise(call);
  if (const FailedBackup failure = ReadSharedBackup().last_failure; failure.at != 0) {
    call->SetFailure(failure);
  }
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}
