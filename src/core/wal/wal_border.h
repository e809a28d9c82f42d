// A record that lies across the border of two segments, when the segments are read one by one.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "core/bytes.h"
#include "core/codec/crc32c.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_record.h"

namespace veza {

// What a segment holds of a record that begins in it and goes on behind its end.
struct WalHead {
  Lsn begin;
  std::uint32_t length = 0;  // of the whole record
  std::uint64_t taken = 0;   // bytes of it before the border
  // The headers, and the beginning of the main data. The data of the blocks between them are left
  // out.
  Bytes kept;
  std::optional<Crc32c> crc;  // of what was taken; nullopt when it is not checked
};

// What a segment holds of a record that began before it.
struct WalTail {
  std::uint32_t length = 0;  // bytes of the record from the beginning of the segment on
  std::uint64_t taken = 0;   // so many of them are in this segment
  Bytes kept;                // the first of these
  Lsn end;                   // behind the last byte, aligned, as WalRecord::end
  // The server gave the record up, because a crash had cut it off.
  bool overwritten = false;
  // What the first record behind says of where this one begins.
  std::optional<Lsn> record_begin;
};

// A record that comes in parts. It keeps the headers and the beginning of the main data.
class PartialRecord {
 public:
  // `length` must be kWalRecordHeader to kLargestWalRecord. Memory is used again. The headers are
  // always kept, and then so much of the main data that both have `largest_kept` bytes.
  void Begin(Lsn begin, std::uint32_t length, bool check_crc, std::size_t largest_kept);
  // Begins behind the head. False when that contradicts itself.
  bool GoOn(const WalHead& head, std::size_t largest_kept);
  // At most left() bytes. False when the headers are damaged.
  bool Take(ByteView part);
  // Passes over bytes that are not known. The main data then end before them, and the CRC is not
  // checked.
  bool Skip(std::uint64_t bytes);

  Lsn begin() const { return begin_; }
  std::uint64_t left() const { return length_ - taken_; }
  std::string_view damage() const { return headers_.damage(); }
  // The beginning of the record, as kept. At least kWalRecordHeader bytes if so much was taken.
  ByteView kept() const { return kept_; }
  // Null until the headers are there. Without `end`. Valid until the next call of another function.
  WalRecord* record();
  // When nothing is left: whether the CRC is right, or need not be.
  bool HasRightCrc() const;
  WalHead Head() const;

 private:
  bool TakeHeaders(ByteView part);
  void TakeData(ByteView part, std::uint64_t at);

  Lsn begin_;
  std::uint32_t length_ = 0;
  std::uint64_t taken_ = 0;
  std::size_t largest_kept_ = 0;
  std::optional<Crc32c> crc_;
  Bytes kept_;
  bool has_headers_ = false;
  bool has_gap_ = false;
  WalRecordHeaders headers_;
};

enum class BorderOutcome {
  kRecord,       // it is whole and was visited
  kIncomplete,   // it goes on behind the last of the segments
  kOverwritten,  // the server gave it up. It does not count
};

struct BorderOptions {
  std::size_t largest_kept = std::size_t{1} << 20;  // as in WalReader::Options
};

// Puts a record together from the head in one segment and what the segments behind it hold of it:
// one, or more if the record covers whole segments. The CRC is checked if the head has one and
// nothing was left out of the tails. Errors: kDataCorrupted if the parts do not belong together or
// the record is damaged; those of `visit`.
Result<BorderOutcome> JoinBorder(const WalHead& head, std::span<const WalTail> tails,
                                 const BorderOptions& options,
                                 const std::function<Status(const WalRecord&)>& visit);

}  // namespace veza
