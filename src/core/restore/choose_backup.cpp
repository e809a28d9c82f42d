#include "core/restore/choose_backup.h"

#include <algorithm>

#include "core/repository/backup_order.h"
#include "core/repository/suspect_diff.h"
#include "core/restore/target_time.h"

namespace veza {
namespace {

// Whether the backup ended early enough. True for targets of which that cannot be known.
bool EndsBeforeTarget(const BackupSummary& backup, const RecoveryTarget& target) {
  switch (target.kind) {
    case TargetKind::kTime:
      return backup.stop_time <= target.time;
    case TargetKind::kLsn:
      return backup.stop_lsn <= target.lsn;
    case TargetKind::kEndOfWal:
    case TargetKind::kImmediate:
    case TargetKind::kXid:
    case TargetKind::kName:
      return true;
  }
  return true;
}

bool LeadsToTimeline(const BackupSummary& backup, const TimelineHistory* history) {
  return history == nullptr || history->Contains(backup.timeline, backup.stop_lsn);
}

// Of two that lead to the target timeline: which one offers the earlier target.
bool EndedEarlier(const BackupSummary& a, const BackupSummary& b) {
  return a.stop_time != b.stop_time ? a.stop_time < b.stop_time : IsBefore(a, b);
}

// Whether no backup before it on its way ended after the target. Then its own end, by the clock of
// a node that was behind, may also have been later than it says.
bool EndsBeforeTargetForSure(const BackupSummary& backup, std::span<const BackupSummary> backups,
                             const RecoveryTarget& target, const TimelineHistory* history) {
  return std::ranges::none_of(backups, [&](const BackupSummary& other) {
    const bool same_way =
        history != nullptr ? LeadsToTimeline(other, history) : other.timeline == backup.timeline;
    return same_way && !IsBefore(backup, other) && !EndsBeforeTarget(other, target);
  });
}

std::string EarliestTargetHint(const BackupSummary& backup, const RecoveryTarget& target) {
  return fmt::format("The earliest possible target is {}, the end of backup \"{}\".",
                     target.kind == TargetKind::kLsn
                         ? fmt::format("LSN {}", FormatLsn(backup.stop_lsn))
                         : fmt::format("\"{}\"", FormatTargetTime(backup.stop_time)),
                     backup.label);
}

Result<BackupSummary> ChooseByLabel(std::span<const BackupSummary> backups,
                                    const RecoveryTarget& target, std::string_view label,
                                    const TimelineHistory* history) {
  const auto found = std::ranges::find(backups, label, &BackupSummary::label);
  if (found == backups.end()) {
    return MakeError(ErrorCode::kNotFound, "backup \"{}\" does not exist", label)
        .WithHint("See \"vezactl info\" for the backups there are.");
  }
  if (!LeadsToTimeline(*found, history)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "backup \"{}\" on timeline {} does not lead to timeline {}", label,
                     found->timeline, history->timeline)
        .WithHint("Choose another backup, or another timeline with --target-timeline.");
  }
  if (!EndsBeforeTarget(*found, target)) {
    return MakeError(ErrorCode::kFailedPrecondition, "backup \"{}\" ended after {}", label,
                     DescribeTarget(target))
        .WithHint(EarliestTargetHint(*found, target));
  }
  return *found;
}

// The newest one that leads where the doubtful one does. Null without one.
const BackupSummary* NewestWithoutDoubt(std::span<const BackupSummary> backups,
                                        const BackupSummary& doubtful, const RecoveryTarget& target,
                                        const TimelineHistory* history) {
  const BackupSummary* newest = nullptr;
  for (const BackupSummary& backup : backups) {
    const bool same_way = history != nullptr ? LeadsToTimeline(backup, history)
                                             : backup.timeline == doubtful.timeline;
    if (same_way && (newest == nullptr || IsBefore(*newest, backup)) &&
        EndsBeforeTargetForSure(backup, backups, target, history) &&
        WhyDoubtful(backup, backups).empty()) {
      newest = &backup;
    }
  }
  return newest;
}

}  // namespace

Result<BackupSummary> ChooseBackup(std::span<const BackupSummary> backups,
                                   const RecoveryTarget& target, std::string_view label,
                                   const TimelineHistory* history, DoubtfulBackups doubtful) {
  if (backups.empty()) {
    return MakeError(ErrorCode::kNotFound, "there is no backup in the repository")
        .WithHint("Check the repository and cluster name, see \"vezactl info\".");
  }
  if (!label.empty()) {
    return ChooseByLabel(backups, target, label, history);
  }
  const BackupSummary* newest = nullptr;
  const BackupSummary* earliest = nullptr;  // on the way to the timeline, whenever it ended
  for (const BackupSummary& backup : backups) {
    if (!LeadsToTimeline(backup, history)) {
      continue;
    }
    if (earliest == nullptr || EndedEarlier(backup, *earliest)) {
      earliest = &backup;
    }
    if ((newest == nullptr || IsBefore(*newest, backup)) &&
        EndsBeforeTargetForSure(backup, backups, target, history)) {
      newest = &backup;
    }
  }
  if (newest != nullptr) {
    const bool passes_over = doubtful == DoubtfulBackups::kPassOver &&
                             target.kind != TargetKind::kImmediate &&
                             !WhyDoubtful(*newest, backups).empty();
    const BackupSummary* const other =
        passes_over ? NewestWithoutDoubt(backups, *newest, target, history) : nullptr;
    return other != nullptr ? *other : *newest;
  }
  if (earliest == nullptr) {
    return MakeError(ErrorCode::kNotFound, "no backup leads to timeline {}", history->timeline)
        .WithHint("Choose another timeline with --target-timeline.");
  }
  return MakeError(ErrorCode::kFailedPrecondition, "no backup ended at or before {}",
                   DescribeTarget(target))
      .WithHint(EarliestTargetHint(*earliest, target));
}

}  // namespace veza
