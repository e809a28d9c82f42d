#include "core/restore/choose_backup.h"

#include <algorithm>

#include "core/backup/suspect_diff.h"
#include "core/clock_tolerance.h"
#include "core/repository/backup_order.h"
#include "core/repository/names.h"
#include "core/restore/target_time.h"

namespace veza {
namespace {

// Whether the backup ended before the target. Also true for targets of which that cannot be known.
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

// Of two backups that lead to the target timeline: which one allows the earlier target.
bool EndedEarlier(const BackupSummary& a, const BackupSummary& b) {
  return a.stop_time != b.stop_time ? a.stop_time < b.stop_time : IsBefore(a, b);
}

// Whether this backup and all earlier ones on its path say that they ended before the target. If an
// earlier one says that it ended after the target, the clock of this backup's node was behind, and
// this backup may also have ended later than it says.
bool EndsBeforeTargetForSure(const BackupSummary& backup, std::span<const BackupSummary> backups,
                             const RecoveryTarget& target, const TimelineHistory* history) {
  return std::ranges::none_of(backups, [&](const BackupSummary& other) {
    const bool same_way =
        history != nullptr ? LeadsToTimeline(other, history) : other.timeline == backup.timeline;
    return same_way && !IsBefore(backup, other) && !EndsBeforeTarget(other, target);
  });
}

// Times in a backup are by the clock of its server, and the time in its label by the store's.
bool HadClockAhead(const BackupSummary& backup, TimePoint now) {
  const std::optional<TimePoint> label_time = ParseLabelTime(backup.label);
  return backup.stop_time > now + kClockTolerance ||
         (label_time.has_value() && backup.start_time > *label_time + kClockTolerance);
}

// Why backups are refused for a target time that they should lead to. Empty when no clock was
// wrong.
std::string WrongClockHint(std::span<const BackupSummary> backups, const RecoveryTarget& target,
                           const TimelineHistory* history, TimePoint now) {
  const auto wrong = std::ranges::find_if(backups, [&](const BackupSummary& backup) {
    return LeadsToTimeline(backup, history) && !EndsBeforeTarget(backup, target) &&
           HadClockAhead(backup, now);
  });
  if (target.kind != TargetKind::kTime || wrong == backups.end()) {
    return "";
  }
  return fmt::format(
      " The server's clock was ahead when backup \"{}\" was made, which has \"{}\" as its end. Use "
      "--target-lsn, --target-xid or --target-name, or take a new backup: --backup with its label "
      "can be restored to times after its end.",
      wrong->label, FormatTargetTime(wrong->stop_time));
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
                                    const TimelineHistory* history, TimePoint now) {
  const auto found = std::ranges::find(backups, label, &BackupSummary::label);
  if (found == backups.end()) {
    return MakeError(ErrorCode::kNotFound, "backup \"{}\" does not exist", label)
        .WithHint("\"vezactl info\" lists the backups.");
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
        .WithHint(EarliestTargetHint(*found, target) +
                  WrongClockHint({&*found, 1}, target, history, now));
  }
  return *found;
}

// The newest wanted backup that leads to the target. Null when there is none.
template <typename Predicate>
const BackupSummary* Newest(std::span<const BackupSummary> backups, const RecoveryTarget& target,
                            const TimelineHistory* history, Predicate is_wanted) {
  const BackupSummary* newest = nullptr;
  for (const BackupSummary& backup : backups) {
    if (LeadsToTimeline(backup, history) && (newest == nullptr || IsBefore(*newest, backup)) &&
        EndsBeforeTargetForSure(backup, backups, target, history) && is_wanted(backup)) {
      newest = &backup;
    }
  }
  return newest;
}

// The backup on the path to the timeline that ended first.
const BackupSummary* Earliest(std::span<const BackupSummary> backups,
                              const TimelineHistory* history) {
  const BackupSummary* earliest = nullptr;
  for (const BackupSummary& backup : backups) {
    if (LeadsToTimeline(backup, history) &&
        (earliest == nullptr || EndedEarlier(backup, *earliest))) {
      earliest = &backup;
    }
  }
  return earliest;
}

}  // namespace

Result<BackupSummary> ChooseBackup(std::span<const BackupSummary> backups,
                                   const RecoveryTarget& target, std::string_view label,
                                   const TimelineHistory* history, TimePoint now,
                                   DoubtfulBackups doubtful, const LostParts& lost) {
  if (backups.empty()) {
    return MakeError(ErrorCode::kNotFound, "there is no backup in the repository")
        .WithHint("Check the names of the repository and of the cluster.");
  }
  if (!label.empty()) {
    return ChooseByLabel(backups, target, label, history, now);
  }
  const BackupSummary* const newest =
      Newest(backups, target, history, [](const BackupSummary&) { return true; });
  if (newest != nullptr) {
    const auto is_good = [&](const BackupSummary& backup) {
      return WhyDoubtful(backup, backups).empty() &&
             WhyNotRestorable(backup, backups, lost).empty();
    };
    const bool passes_over = doubtful == DoubtfulBackups::kPassOver &&
                             target.kind != TargetKind::kImmediate && !is_good(*newest);
    // Without a history, recovery stays on the timeline of the backup.
    const auto will_do = [&](const BackupSummary& backup) {
      return (history != nullptr || backup.timeline == newest->timeline) && is_good(backup);
    };
    const BackupSummary* const other =
        passes_over ? Newest(backups, target, history, will_do) : nullptr;
    return other != nullptr ? *other : *newest;
  }
  const BackupSummary* const earliest = Earliest(backups, history);
  if (earliest == nullptr) {
    return MakeError(ErrorCode::kNotFound, "no backup leads to timeline {}", history->timeline)
        .WithHint("Choose another timeline with --target-timeline.");
  }
  return MakeError(ErrorCode::kFailedPrecondition, "no backup ended at or before {}",
                   DescribeTarget(target))
      .WithHint(EarliestTargetHint(*earliest, target) +
                WrongClockHint(backups, target, history, now));
}

}  // namespace veza
