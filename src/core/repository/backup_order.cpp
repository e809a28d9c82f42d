#include "core/repository/backup_order.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <tuple>

#include "core/repository/names.h"

namespace veza {

namespace {

// The last time that a label can express: 9999-12-31 23:59:59.
constexpr TimePoint kLastLabelTime{std::chrono::seconds(253'402'300'799)};

auto PositionOf(const BackupSummary& backup) {
  return std::tuple(backup.timeline, backup.stop_lsn, backup.start_lsn, LabelTimeText(backup.label),
                    std::string_view(backup.label));
}

}  // namespace

bool IsBefore(const BackupSummary& a, const BackupSummary& b) {
  return PositionOf(a) < PositionOf(b);
}

bool IsSurelyOlder(const BackupSummary& a, const BackupSummary& b) {
  return IsBefore(a, b) && LabelTimeText(a.label) <= LabelTimeText(b.label);
}

void SortBackups(std::vector<BackupSummary>& backups) {
  std::ranges::sort(backups, [](const BackupSummary& a, const BackupSummary& b) {
    return a.system_identifier != b.system_identifier ? a.system_identifier < b.system_identifier
                                                      : IsBefore(a, b);
  });
}

Result<TimePoint> NextLabelTime(const std::vector<std::string>& names, TimePoint store_now) {
  TimePoint next = std::chrono::floor<std::chrono::seconds>(store_now);
  for (const std::string& name : names) {
    const std::optional<TimePoint> begun = ParseLabelTime(name);
    if (!begun) {
      continue;
    }
    if (*begun >= kLastLabelTime) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "no backup label can follow \"{}\", which is in the repository", name)
          .WithHint(
              "Find out who created that label, then remove the objects that the repository holds "
              "under it.");
    }
    next = std::max<TimePoint>(next, *begun + std::chrono::seconds(1));
  }
  return next;
}

}  // namespace veza
