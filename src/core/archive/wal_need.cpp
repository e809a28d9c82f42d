#include "core/archive/wal_need.h"

#include <string>

#include "core/repository/names.h"

namespace veza {

WalNeedAnswer AnswerWalNeed(std::string_view needs_wal, const WalPosition& position) {
  if (needs_wal.empty()) {
    return WalNeedAnswer::kNothing;
  }
  const std::string current =
      SegmentName(position.timeline, position.segment, position.segment_size);
  if (needs_wal == *WalObjectName(position.system_identifier, current)) {
    const bool too_soon =
        position.last_switch && position.now - *position.last_switch < kBetweenSwitches;
    return too_soon ? WalNeedAnswer::kLater : WalNeedAnswer::kSwitch;
  }
  const std::string_view file = needs_wal.substr(needs_wal.rfind('/') + 1);
  const std::optional<WalFileName> wal = ParseWalFileName(file);
  if (!wal || wal->kind != WalFileKind::kSegment) {
    return WalNeedAnswer::kStrange;
  }
  // The names of segments of one timeline sort as the segments do.
  const bool is_ahead = needs_wal.starts_with(WalSystemPrefix(position.system_identifier)) &&
                        wal->timeline == position.timeline && file > current;
  return is_ahead ? WalNeedAnswer::kStrange : WalNeedAnswer::kNothing;
}

}  // namespace veza
