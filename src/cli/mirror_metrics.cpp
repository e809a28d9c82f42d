#include "cli/mirror_metrics.h"

#include "core/monitor/exposition.h"

namespace veza::cli {
namespace {

constexpr const char* kWholeUntil = "veza_backup_mirror_whole_timestamp_seconds";

}  // namespace

std::string FormatMirrorMetrics(const std::string& cluster, const MirrorReport* report,
                                TimePoint begun, TimePoint ended, std::string_view before) {
  Exposition metrics(Exposition::Labels{{"cluster", cluster}});
  metrics.Gauge("veza_backup_mirror_last_run_timestamp_seconds",
                "When the last pass of vezactl mirror ended.", UnixSeconds(ended));
  metrics.Gauge("veza_backup_mirror_success",
                "Whether the last pass of vezactl mirror could reach both places.",
                report != nullptr ? 1 : 0);
  metrics.Gauge(kWholeUntil,
                "When the last pass began after which nothing was missing on the mirror.",
                report != nullptr && report->is_whole() ? UnixSeconds(begun)
                                                        : FindSample(before, kWholeUntil));
  const auto found = [&](const char* name, const char* help, auto value) {
    metrics.Gauge(
        name, help,
        report != nullptr ? static_cast<double>(value(*report)) : FindSample(before, name));
  };
  found("veza_backup_mirror_behind_objects",
        "Objects that the last pass found missing on the mirror.",
        [](const MirrorReport& pass) { return pass.objects_behind; });
  found("veza_backup_mirror_behind_bytes",
        "Size of what the last pass found missing on the mirror.",
        [](const MirrorReport& pass) { return pass.bytes_behind; });
  found("veza_backup_mirror_behind_seconds",
        "How long the repository had had the oldest object that the last pass found missing on the "
        "mirror.",
        [](const MirrorReport& pass) { return pass.lag().count(); });
  found("veza_backup_mirror_not_copied",
        "Conflicts, unreadable objects and incomplete backups that the last pass has left out.",
        [](const MirrorReport& pass) {
          return pass.conflict_count + pass.unreadable_count + pass.incomplete.size() +
                 (pass.has_lost_backups ? 1 : 0);
        });
  found("veza_backup_mirror_only_there", "Objects that the last pass found on the mirror alone.",
        [](const MirrorReport& pass) { return pass.objects_only_there; });
  return metrics.text();
}

}  // namespace veza::cli
