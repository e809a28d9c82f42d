// Recovery targets: how far recovery goes.
//
// Meanings and limits are those of PostgreSQL's recovery_target* settings (access/xlogrecovery.c,
// utils/misc/guc_tables.c; 15 to 18).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"

namespace veza {

enum class TargetKind {
  kEndOfWal,   // all WAL there is
  kImmediate,  // as soon as the backup is consistent
  kTime,
  kLsn,
  kXid,
  kName,  // the name of a restore point
};

enum class TargetAction { kPause, kPromote, kShutdown };

// The timeline that recovery follows: the latest, the backup's own, or a numbered one.
struct TargetTimeline {
  enum class Kind { kLatest, kCurrent, kNumber } kind = Kind::kLatest;
  TimelineId number = 0;  // kNumber only
};

struct RecoveryTarget {
  TargetKind kind = TargetKind::kEndOfWal;
  // Only the member that `kind` names is used.
  TimePoint time{};
  Lsn lsn{};
  std::uint64_t xid = 0;
  std::string name{};
  bool inclusive = true;                       // kTime, kLsn and kXid only
  TargetAction action = TargetAction::kPause;  // not for kEndOfWal
  TargetTimeline timeline{};
};

// Parse what users write. Errors are kInvalidArgument with a hint. For times there is
// ParseTargetTime (target_time.h), for LSNs ParseLsn.
Result<std::uint64_t> ParseTargetXid(std::string_view text);  // decimal, 32 or 64 bits
Result<std::string> ParseTargetName(std::string_view text);   // 1 to 63 bytes
Result<TargetTimeline> ParseTargetTimeline(std::string_view text);
Result<TargetAction> ParseTargetAction(std::string_view text);

const char* TargetActionName(TargetAction action);
std::string FormatTargetTimeline(const TargetTimeline& timeline);

// For messages: `time "2026-11-22 02:00:00.000000+00"`, "the end of WAL", …
std::string DescribeTarget(const RecoveryTarget& target);

}  // namespace veza
