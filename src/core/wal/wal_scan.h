// What a WAL segment tells that is read alone, without a server: whether it is the one that its
// name says, and a few kinds of records. Layout: access/xlog_internal.h, access/xlogrecord.h, the
// same in PostgreSQL 15 to 18, and of the byte order of this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/postgres/lsn.h"

namespace veza {

// What the header of the first page says of the segment.
enum class FirstPage {
  kOfSegment,
  // A whole header of this system's WAL, but of another address: a file that was recycled to get
  // this name and never written. It holds no WAL of this name.
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

// Walks over the records of one segment. It ends at the end of its WAL, and where it cannot follow.
// Of a record of before that ends in the segment, and of one that ends in the next, it knows
// nothing; but a change of parameters that is cut off counts as one to `minimal`.
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
  Bytes rest_;  // of a page
  std::size_t page_size_ = 0;
  std::uint16_t magic_ = 0;
  bool ended_ = false;

  std::uint64_t skip_ = 0;  // of a record from the segment before
  Lsn record_begin_;
  std::uint64_t left_ = 0;  // of the record
  Bytes record_;            // its beginning
};

}  // namespace veza
