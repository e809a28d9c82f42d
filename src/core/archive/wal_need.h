// What a primary does for a backup on a standby that needs WAL which is not finished.
//
// A standby cannot finish a segment: only its primary can, and an idle one never does by itself
// (archive_timeout = 0). So the backup writes into the lock, which it holds and renews anyway,
// which object of the archive it waits for, and the primary's scheduler, which looks at the lock
// from time to time, switches to the next segment. That takes no rights in the database and no
// connection.
//
// Whoever can write to a repository without encryption can write such a lock. What it can cause is
// bounded here: a segment is finished only while it is the one that is being written, so once, and
// not more often than kBetweenSwitches.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/environment.h"
#include "core/postgres/lsn.h"

namespace veza {

// As often as archive_timeout is commonly told to.
inline constexpr std::chrono::seconds kBetweenSwitches{60};

// Where a primary is.
struct WalPosition {
  std::uint64_t system_identifier = 0;
  TimelineId timeline = 0;
  SegmentNumber segment = 0;  // that is being written
  std::uint64_t segment_size = 0;
  std::optional<SteadyTime> last_switch{};  // on behalf of somebody
  SteadyTime now{};
};

enum class WalNeedAnswer {
  kNothing,  // nobody needs anything, or what the archiver will store; or it is another server's
  kSwitch,   // now
  kLater,    // when kBetweenSwitches is over
  kStrange,  // no backup needs this: it is no segment of WAL, or none that was begun
};

// `needs_wal` is LockState::needs_wal; it may be anything.
WalNeedAnswer AnswerWalNeed(std::string_view needs_wal, const WalPosition& position);

}  // namespace veza
