// What a primary does for a backup on a standby that waits for a segment which is not finished.
//
// Only the primary can finish a segment, and an idle one with archive_timeout = 0 never does. So
// the backup writes into the cluster lock, which it holds and renews anyway, which object of the
// archive it waits for. The primary's scheduler looks at the lock from time to time, and switches
// to the next segment. That takes no rights in the database and no connection.
//
// Anybody who can write to a repository without encryption can write such a lock. What that can
// cause is limited here: only the segment that is being written is finished, so each at most once,
// and not more often than every kBetweenSwitches.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/environment.h"
#include "core/postgres/lsn.h"

namespace veza {

// A common value of archive_timeout.
inline constexpr std::chrono::seconds kBetweenSwitches{60};

// The position of a primary.
struct WalPosition {
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;
  SegmentNumber segment = 0;  // that is being written
  std::uint64_t segment_size = 0;
  std::optional<SteadyTime> last_switch{};  // the last one made for a backup
  SteadyTime now{};
};

enum class WalNeedAnswer {
  kNothing,  // no WAL is needed, or the archiver will store it anyway, or another server has it
  kSwitch,   // now
  kLater,    // when kBetweenSwitches is over
  kStrange,  // no backup needs this: it is not a segment, or one that has not been begun
};

// `needs_wal` is LockState::needs_wal; it may hold any text.
WalNeedAnswer AnswerWalNeed(std::string_view needs_wal, const WalPosition& position);

}  // namespace veza
