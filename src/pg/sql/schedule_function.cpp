// Implements the view veza_backup_schedule: the records in the repository, and what the scheduler
// of this server knows beyond them. While the repository cannot be reached, it shows the latter
// only.

#include "core/repository/connect.h"
#include "pg/sql/rows_call.h"
//
#include "pg/schedule/known_schedules.h"
#include "pg/shared/shared_memory.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

// Short: the view must answer quickly, and can do without the repository.
constexpr RetryPolicy kLookRetries{.budget = std::chrono::seconds(2), .max_attempts = 2};

class ScheduleCall final : public RowsCall {
 public:
  ~ScheduleCall() override { StopAndJoin(); }

  void ReadServer() { shared_ = ReadSharedSlots(); }

 private:
  Status Work() override {
    const Result<LockState> state = ReadRepository();
    RETURN_IF_ERROR(environment_.cancellation->Check());
    const KnownSchedules known = LookAtSchedules(
        config_.schedule, shared_, state ? &*state : nullptr, facts_.node, facts_.is_primary);
    for (const ScheduleKind kind : kScheduleKinds) {
      AddRow(known, kind, ScheduleOf(config_.schedule, kind));
    }
    return Ok();
  }

  Result<LockState> ReadRepository() {
    ASSIGN_OR_RETURN(std::shared_ptr<Store> store,
                     ConnectStore(config_, environment_, kLookRetries));
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     Repository::Open(std::move(store), Options(), environment_));
    return ReadLockState(*repository);
  }

  void AddRow(const KnownSchedules& known, ScheduleKind kind,
              const std::optional<Schedule>& schedule) {
    const auto or_null = [](const std::string& text) {
      return text.empty() ? std::nullopt : std::optional(text);
    };
    Row row(11);
    row[0] = ScheduleKindName(kind);
    row[1] = schedule ? schedule->text() : "";
    row[2] = schedule ? schedule->Describe() : "never";
    row[3] = config_.schedule.zone.name();
    const SlotRecords records = known.keeper.Records();
    const auto found = records.find(ScheduleKindName(kind));
    if (found != records.end() && found->second.state != SlotState::kNone) {
      const SlotRecord& record = found->second;
      row[4] = FormatUtc(record.slot);
      row[5] = SlotStateName(record.state);
      row[6] = or_null(record.error);
      row[7] = or_null(record.label);
      row[8] = or_null(record.node);
      row[9] = std::to_string(record.attempts);
    }
    if (const auto next = known.keeper.Next(known.node, kind)) {
      row[10] = FormatUtc(*next);
    }
    rows_.push_back(std::move(row));
  }

  SharedSlots shared_;
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_get_schedule) {
  using namespace veza::pg;
  RequireSharedMemory();
  auto* const call = NewInContext<ScheduleCall>();
  PrepareOrRaise(call);
  call->ReadServer();
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}
