#include "core/retention/wal_retention.h"

#include <algorithm>
#include <limits>

namespace veza {

void WalRules::KeepFrom(const BackupSummary& backup, const char* setting) {
  const SegmentNumber first = SegmentOf(backup.start_lsn, segment_size_);
  if (!from_ || first < from_->first) {
    from_ = Anchor{first, backup.label, setting};
  }
}

void WalRules::KeepConsistent(const BackupSummary& backup) {
  needs_.push_back({SegmentOf(backup.start_lsn, segment_size_),
                    SegmentBefore(backup.stop_lsn, segment_size_),
                    fmt::format("backup \"{}\" needs it to be consistent", backup.label)});
}

void WalRules::KeepFrom(Lsn lsn, std::string reason) {
  needs_.push_back({SegmentOf(lsn, segment_size_), std::numeric_limits<SegmentNumber>::max(),
                    std::move(reason)});
}

void WalRules::Decide() {
  if (!keep_all_.empty() || !from_) {
    stretches_.push_back({0, true, keep_all_});
    return;
  }
  std::sort(needs_.begin(), needs_.end(),
            [](const Need& a, const Need& b) { return a.first < b.first; });
  const std::string gone = fmt::format("is older than backup \"{}\", and no backup needs it ({})",
                                       from_->label, from_->setting);
  SegmentNumber next = 0;  // the first segment that is not decided yet
  for (const Need& need : needs_) {
    if (need.first >= from_->first) {
      break;
    }
    if (need.last < next) {
      continue;
    }
    if (need.first > next) {
      stretches_.push_back({next, false, gone});
      next = need.first;
    }
    stretches_.push_back({next, true, need.reason});
    next = need.last < from_->first ? need.last + 1 : from_->first;
  }
  if (next < from_->first) {
    stretches_.push_back({next, false, gone});
    next = from_->first;
  }
  stretches_.push_back({next, true,
                        fmt::format("is kept from the start of backup \"{}\" on ({})", from_->label,
                                    from_->setting)});
}

std::size_t WalRules::StretchOf(SegmentNumber segment) const {
  const auto next = std::upper_bound(
      stretches_.begin(), stretches_.end(), segment,
      [](SegmentNumber number, const Stretch& stretch) { return number < stretch.first; });
  return static_cast<std::size_t>(next - stretches_.begin()) - 1;
}

std::optional<std::pair<TimelineId, SegmentNumber>> WalRules::Add(const ObjectInfo& object) {
  const auto file = ParseWalFileName(object.name.substr(object.name.rfind('/') + 1));
  if (!file || file->kind == WalFileKind::kTimelineHistory) {
    return std::nullopt;
  }
  if (stretches_.empty()) {
    Decide();
  }
  const SegmentNumber segment = SegmentNumberOf(file->segment_name, segment_size_);
  const std::size_t stretch = StretchOf(segment);
  if (ranges_.empty() || last_timeline_ != file->timeline || last_stretch_ != stretch) {
    last_timeline_ = file->timeline;
    last_stretch_ = stretch;
    ranges_.push_back({.kind = RetentionKind::kWal,
                       .name = file->segment_name,
                       .keep = stretches_[stretch].keep,
                       .reason = stretches_[stretch].reason,
                       .bytes = 0});
  }
  ranges_.back().last = file->segment_name;
  *ranges_.back().bytes += object.size;
  return ranges_.back().keep ? std::optional(std::pair(file->timeline, segment)) : std::nullopt;
}

}  // namespace veza
