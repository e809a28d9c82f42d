// Implements the view veza_backup_drills: the records of restore drills in the repository.

#include "core/codec/json.h"
#include "core/repository/drill_record.h"

#include "pg/sql/rows_call.h"
//
#include "pg/boundary.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

std::string Seconds(std::chrono::milliseconds duration) {
  return fmt::format("{:.3f}", std::chrono::duration<double>(duration).count());
}

Row RowOf(const DrillRecord& record) {
  std::string phases;
  for (const auto& [name, duration] : record.phases) {
    phases +=
        fmt::format("{}{}: {}", phases.empty() ? "" : ", ", Json(name).Print(), Seconds(duration));
  }
  const auto optional_seconds = [](const std::optional<std::chrono::milliseconds>& duration) {
    return duration ? std::optional(Seconds(*duration)) : std::nullopt;
  };
  return {FormatUtc(record.started),
          record.label,
          record.passed ? "true" : "false",
          record.node,
          record.target,
          "{" + phases + "}",
          std::to_string(record.restored_bytes),
          optional_seconds(record.rpo),
          optional_seconds(record.rto),
          std::to_string(record.checks_passed),
          std::to_string(record.checks_failed),
          record.error.empty() ? std::nullopt : std::optional(record.error)};
}

class DrillsCall final : public RowsCall {
 public:
  ~DrillsCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, Open());
    ASSIGN_OR_RETURN(const std::vector<StoredDrill> drills, ReadDrills(*repository));
    for (const StoredDrill& drill : drills) {
      if (drill.record) {
        rows_.push_back(RowOf(*drill.record));
      } else {
        Row row(12);
        row[1] = drill.label;
        row[11] = drill.record.error().message;
        rows_.push_back(std::move(row));
      }
    }
    return Ok();
  }
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_get_drills) {
  return veza::pg::ReturnRowsOf<veza::pg::DrillsCall>(fcinfo);
}
