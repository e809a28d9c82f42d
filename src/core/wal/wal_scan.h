// Reads a WAL segment by itself, without a server: whether it is the segment that its name says,
// and a few kinds of records in it. The layout is that of access/xlog_internal.h and
// access/xlogrecord.h, which is the same in PostgreSQL 15 to 18, in the byte order of this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/postgres/lsn.h"

namespace veza {

// What the header of the first page says about the segment.
enum class FirstPage {
  kOfSegment,
  // A whole header of this system's WAL, but with another address. The file was recycled to get
  // this name, and was never written. It holds no WAL of this name.
  kRecycled,
  kUnknown,  // anything else: zeros, damage
};
FirstPage JudgeFirstPage(ByteView beginning, Lsn begin, std::uint64_t system_identifier,
                         std::uint64_t segment_size);

struct WalEvent {
  enum class Kind {
    kTransactionEnd,  // a commit or an abort: recovery to a time looks at nothing else
    kMinimal,         // from here on wal_level = minimal: recovery stops with an error
  };
  Kind kind = Kind::kTransactionEnd;
  Lsn lsn;           // where the record begins
  TimePoint time{};  // kTransactionEnd only: by the clock of the server that wrote it
};

// Walks over the records of one segment, until its WAL ends or cannot be followed. It does not know
// a record that begins in the segment before, nor one that ends in the next. One exception: a
// parameter change whose wal_level lies in the next segment counts as a change to `minimal`.
class WalScanner {
 public:
  using Visitor = std::function<void(const WalEvent&)>;

  WalScanner(Lsn begin, Visitor visit) : next_page_(begin), visit_(std::move(visit)) {}

  // The content of the segment, piece by piece.
  void Feed(ByteView bytes);
  // After the last piece.
  void Finish();

 private:
  void TakePage(ByteView page);
  bool BeginPage(ByteView page, std::size_t* position);
  void TakeRecords(ByteView page, std::size_t position);
  void EndRecord(bool whole);

  Lsn next_page_;
  Visitor visit_;
  Bytes rest_;  // the beginning of a page
  std::size_t page_size_ = 0;
  std::uint16_t magic_ = 0;
  bool ended_ = false;

  std::uint64_t skip_ = 0;  // bytes left of a record from the segment before
  Lsn record_begin_;
  std::uint64_t left_ = 0;  // bytes left of the current record
  Bytes record_;            // its beginning
};

}  // namespace veza
