// Reads a WAL segment by itself, without a server: whether it is the segment that its name says,
// and a few kinds of records in it.
#pragma once

#include <cstdint>
#include <functional>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_reader.h"

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

inline constexpr std::uint8_t kParameterChange = 0x60;  // XLOG_PARAMETER_CHANGE, of kXlogManager
// Whether wal_level is `minimal` from this parameter change on. Given is what is there of the
// record's main data; `whole`: there is no more of it. If wal_level is not there and may lie in the
// next segment, it counts as `minimal`.
bool TurnsMinimal(ByteView parameter_change, bool whole);

struct WalEvent {
  enum class Kind {
    kTransactionEnd,  // a commit or an abort: recovery to a time looks at nothing else
    kMinimal,         // from here on wal_level = minimal: recovery stops with an error
  };
  Kind kind = Kind::kTransactionEnd;
  Lsn lsn;           // where the record begins
  TimePoint time{};  // kTransactionEnd only: by the clock of the server that wrote it
};

// Looks at the records of one segment, until its WAL ends or cannot be followed; that is no error.
// CRCs are not checked. It does not know a record that begins in the segment before, nor one that
// ends in the next. One exception: a parameter change that goes on in the next segment, see
// TurnsMinimal().
class WalScanner {
 public:
  using Visitor = std::function<void(const WalEvent&)>;

  WalScanner(Lsn begin, Visitor visit);
  WalScanner(const WalScanner&) = delete;
  WalScanner& operator=(const WalScanner&) = delete;

  // The content of the segment, piece by piece.
  void Feed(ByteView bytes);
  // After the last piece.
  void Finish();

 private:
  void Look(const WalRecord& record, bool whole);

  const Visitor visit_;
  WalReader reader_;
};

}  // namespace veza
