// Positions in the write-ahead log, and the arithmetic of WAL file names.
//
// Sources: PostgreSQL's access/xlogdefs.h (XLogRecPtr, TimeLineID) and access/xlog_internal.h
// (XLogFileName, XLByteToPrevSeg). The names are the same in 15 to 18.
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

// "16/B374D848", as pg_lsn prints it. kInvalidArgument for other text.
std::string FormatLsn(Lsn lsn);
Result<Lsn> ParseLsn(std::string_view text);

// Reads a member of a JSON object, text as above.
class JsonFields;
void ReadLsn(JsonFields& fields, const char* name, Lsn& lsn);

using TimelineId = std::uint32_t;
using SegmentNumber = std::uint64_t;

enum class WalFileKind { kSegment, kPartial, kBackupHistory, kTimelineHistory };

// Whether recovery asks restore_command for files of this kind. It does not ask for a .partial file
// (the last, unfinished segment of a timeline that was left), because the next timeline's segment
// holds the same WAL up to the switch. Nor does it ask for a .backup file, which only records the
// start and stop of a backup for people.
inline bool IsAskedForByRecovery(WalFileKind kind) {
  return kind == WalFileKind::kSegment || kind == WalFileKind::kTimelineHistory;
}

// The parts of a WAL file name. `segment_name` is empty for a timeline history file.
struct WalFileName {
  WalFileKind kind = WalFileKind::kSegment;
  TimelineId timeline = 0;
  std::string segment_name;  // the first 24 digits
};

// nullopt for a name that is not of one of the four kinds.
std::optional<WalFileName> ParseWalFileName(std::string_view name);

// Whether `size` is a power of two from 1 MiB to 1 GiB (IsValidWalSegSize). The functions below
// accept only such sizes.
bool IsWalSegmentSize(std::uint64_t size);

// The segment that holds the byte at `lsn`.
inline SegmentNumber SegmentOf(Lsn lsn, std::uint64_t segment_size) {
  return lsn.value / segment_size;
}
// The segment that holds the last byte before `lsn`: the last one that a backup ending there needs.
inline SegmentNumber SegmentBefore(Lsn lsn, std::uint64_t segment_size) {
  return (lsn.value - 1) / segment_size;
}

std::string SegmentName(TimelineId timeline, SegmentNumber segment, std::uint64_t segment_size);
// The inverse. `name` must be 24 hexadecimal digits.
SegmentNumber SegmentNumberOf(std::string_view name, std::uint64_t segment_size);
std::string TimelineHistoryName(TimelineId timeline);

}  // namespace veza
