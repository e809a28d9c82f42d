#include "cli/drill/metrics.h"

#include <algorithm>

#include "core/monitor/exposition.h"

namespace veza::cli {
namespace {

constexpr const char* kLastSuccess = "veza_backup_drill_last_success_timestamp_seconds";

double Seconds(std::chrono::milliseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::string FormatDrillMetrics(const std::string& cluster, const DrillRecord& record,
                               std::optional<TimePoint> last_passed, std::string_view before) {
  Exposition metrics(Exposition::Labels{{"cluster", cluster}});
  metrics.Gauge("veza_backup_drill_success", "Whether the last restore drill passed.",
                record.passed ? 1 : 0);
  metrics.Gauge("veza_backup_drill_last_run_timestamp_seconds", "When the last drill ended.",
                UnixSeconds(record.finished));
  std::optional<double> last_success = FindSample(before, kLastSuccess);
  if (record.passed) {
    last_success = UnixSeconds(record.finished);
  } else if (last_passed) {
    last_success = std::max(last_success.value_or(0), UnixSeconds(*last_passed));
  }
  metrics.Gauge(kLastSuccess, "When the last drill that passed ended.", last_success);

  metrics.Family("veza_backup_drill_duration_seconds",
                 "Time that each phase of the last drill took.");
  for (const auto& [phase, duration] : record.phases) {
    metrics.Sample(Seconds(duration), {{"phase", phase}});
  }
  const auto optional_seconds = [](const std::optional<std::chrono::milliseconds>& duration) {
    return duration ? std::optional(Seconds(*duration)) : std::nullopt;
  };
  metrics.Gauge("veza_backup_drill_rto_seconds",
                "Time until the restored database was open: restore and recovery.",
                optional_seconds(record.rto));
  metrics.Gauge("veza_backup_drill_rpo_seconds",
                "Age of the newest data that was restored, at the start of the drill.",
                optional_seconds(record.rpo));
  if (!record.label.empty()) {
    metrics.Gauge("veza_backup_drill_restored_bytes", "Size of the files that were restored.",
                  static_cast<double>(record.restored_bytes));
    metrics.Family("veza_backup_drill_checks", "Checks of the restored database by their result.");
    metrics.Sample(static_cast<double>(record.checks_passed), {{"result", "passed"}});
    metrics.Sample(static_cast<double>(record.checks_failed), {{"result", "failed"}});
    metrics.Gauge("veza_backup_drill_info", "The backup that the last drill restored.", 1,
                  {{"label", record.label}});
  }
  return metrics.text();
}

}  // namespace veza::cli
