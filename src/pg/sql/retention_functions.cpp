// Implements veza_backup_expire() and veza_backup_keep().

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/repository/connect.h"
#include "core/retention/expire.h"
#include "core/retention/pins.h"
#include "pg/sql/rows_call.h"
//
#include "core/retention/retention.h"
#include "pg/boundary.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

Row RowOf(const RetentionDecision& decision) {
  return {RetentionKindName(decision.kind), RangeOf(decision), decision.keep ? "keep" : "remove",
          decision.reason,
          decision.bytes ? std::optional(std::to_string(*decision.bytes)) : std::nullopt};
}

class ExpireCall final : public RowsCall {
 public:
  explicit ExpireCall(bool dry_run) : dry_run_(dry_run) {}
  ~ExpireCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, Open());
    RETURN_IF_ERROR(repository->RequireSystem(facts_.system_identifier));
    ASSIGN_OR_RETURN(const std::vector<RetentionDecision> decisions,
                     dry_run_
                         ? PlanExpire(*repository, facts_.system_identifier, RetentionOf(config_))
                         : ExpireUnderLock(*repository, facts_.system_identifier,
                                           RetentionOf(config_), config_.s3_connections));
    for (const RetentionDecision& decision : decisions) {
      rows_.push_back(RowOf(decision));
    }
    return Ok();
  }

  const bool dry_run_;
};

class KeepCall final : public RowsCall {
 public:
  KeepCall(std::string label, bool keep) : label_(std::move(label)), keep_(keep) {}
  ~KeepCall() override { StopAndJoin(); }

  // Once the call has ended.
  const PinUnderLock& pinned() const { return pinned_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, Open());
    if (!keep_) {
      return UnpinBackup(*repository, label_);
    }
    ASSIGN_OR_RETURN(pinned_, PinBackupUnderLock(*repository, label_));
    return Ok();
  }

  const std::string label_;
  const bool keep_;
  PinUnderLock pinned_;
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_expire) {
  using namespace veza::pg;
  if (PG_ARGISNULL(0)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("the argument of veza_backup_expire() must not be null")));
  }
  auto* const call = NewInContext<ExpireCall>(PG_GETARG_BOOL(0));
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}

VEZA_SQL_FUNCTION(veza_backup_keep) {
  using namespace veza::pg;
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("the arguments of veza_backup_keep() must not be null")));
  }
  const char* const label = text_to_cstring(PG_GETARG_TEXT_PP(0));
  auto* const call = NewInContext<KeepCall>(label, PG_GETARG_BOOL(1));
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  ErrorReport report;
  if (call->pinned().not_locked) {
    FillReport(*call->pinned().not_locked, &report);
    ereport(WARNING,
            (errmsg("backup \"%s\" was pinned without the lock of the repository: %s", label,
                    report.message),
             errhint("If another node was removing the backup at this very moment, the backup may "
                     "still go. Look at veza_backup_info() when that node has finished.")));
  }
  if (call->pinned().not_released) {
    FillReport(*call->pinned().not_released, &report);
    ereport(WARNING, (errmsg("the lock of the repository was not released: %s", report.message),
                      errhint("Backups and expiries wait until it is over, after two minutes.")));
  }
  PG_RETURN_VOID();
}
