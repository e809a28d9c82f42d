// A position in the write-ahead log, and the arithmetic of WAL file names.
//
// Sources: PostgreSQL's access/xlogdefs.h (XLogRecPtr, TimeLineID) and access/xlog_internal.h
// (XLogFileName, XLByteToPrevSeg); the names are the same in 15 to 18.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

struct Lsn {
  std::uint64_t value = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14
  auto operator<=>(const Lsn&) const = default;
};

// "16/B374D848", as pg_lsn prints it.
std::string FormatLsn(Lsn lsn);
Result<Lsn> ParseLsn(std::string_view text);

using TimelineId = std::uint32_t;
using SegmentNumber = std::uint64_t;

enum class WalFileKind { kSegment, kPartial, kBackupHistory, kTimelineHistory };

// The last segment of a timeline that was left, as far as it went, and the notes of a backup's
// start and stop are for people: the next timeline's segment has what the first one holds.
inline bool IsAskedForByRecovery(WalFileKind kind) {
  return kind == WalFileKind::kSegment || kind == WalFileKind::kTimelineHistory;
}

// What a name in pg_wal says. `segment_name` is empty for a history file.
struct WalFileName {
  WalFileKind kind = WalFileKind::kSegment;
  TimelineId timeline = 0;
  std::string segment_name;  // the first 24 digits
};

// Nothing for a name that is not one of the four kinds.
std::optional<WalFileName> ParseWalFileName(std::string_view name);

// Powers of two from 1 MiB to 1 GiB (IsValidWalSegSize). The functions below take no other.
bool IsWalSegmentSize(std::uint64_t size);

// The segment that holds the byte at `lsn`.
inline SegmentNumber SegmentOf(Lsn lsn, std::uint64_t segment_size) {
  return lsn.value / segment_size;
}
// The segment that holds the last byte before `lsn`: what the end of a backup needs.
inline SegmentNumber SegmentBefore(Lsn lsn, std::uint64_t segment_size) {
  return (lsn.value - 1) / segment_size;
}

std::string SegmentName(TimelineId timeline, SegmentNumber segment, std::uint64_t segment_size);
// The inverse; `name` must be 24 hexadecimal digits.
SegmentNumber SegmentNumberOf(std::string_view name, std::uint64_t segment_size);
std::string TimelineHistoryName(TimelineId timeline);

}  // namespace veza
