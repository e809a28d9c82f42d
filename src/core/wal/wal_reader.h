// Reads WAL: from pages to records, of one segment or of consecutive ones.
//
// Sources: access/xlog_internal.h (page headers) and xlogreader.c (how records are found and what
// is wrong with them). docs/postgres-facts.md says what was taken from there.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/bytes.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_border.h"
#include "core/wal/wal_record.h"

namespace veza {

// Why reading ended.
enum class WalEnd {
  kMore,    // all whole pages that were fed are read; the next segment may go on
  kSwitch,  // at a record XLOG_SWITCH: the rest of its segment is filler; the next may go on
  // Here WAL ends, or ended when it was copied: zeros, a page of the file's earlier use, or a
  // record of an earlier use, whose xl_prev does not name the record before. The server itself can
  // tell this from damage no better: whoever knows where WAL must lead to has to compare end().
  kUnwritten,
  kDamaged,  // what cannot be WAL: a wrong CRC, lengths that contradict each other
};

// The major version of PostgreSQL that writes pages with this magic number: 15 to 19. 0 if unknown.
int VersionOfWalMagic(std::uint16_t magic);

// Memory is at most two pages and two times `largest_kept`, time is linear in the bytes, whatever
// they say. For one thread at a time.
class WalReader {
 public:
  struct Options {
    // Where the first segment begins.
    Lsn begin{};
    // nullopt: what the first page says. Then WAL of another system is not noticed.
    std::optional<std::uint64_t> system_identifier{};
    std::optional<std::uint64_t> segment_size{};
    bool check_crc = true;
    // Bit n: records of the resource manager n (below 32) are visited, and the others are not taken
    // apart if they lie in one page. nullopt: all are visited.
    std::optional<std::uint32_t> managers{};
    // Of a record that lies in more than one page, so many bytes of headers and main data are kept,
    // and of the record before the segment so many of its tail. All headers are kept in any case.
    // A record in one page is always whole.
    std::size_t largest_kept = std::size_t{1} << 20;
  };
  // Its error ends the reading, and Feed() returns it.
  using Visitor = std::function<Status(const WalRecord&)>;

  WalReader(const Options& options, Visitor visit);

  // WAL, piece by piece. Errors: kDataCorrupted (the first page is of another system or has another
  // segment size), kUnsupported (it is of a version of PostgreSQL that is not known), those of the
  // visitor. After an error or an end, the rest is passed over.
  Status Feed(ByteView bytes);
  // After the last piece. A page that is not whole is not read.
  WalEnd Finish();

  // What ended the reading, for a message; empty after kMore and kSwitch.
  const std::string& why() const { return why_; }
  // Behind the last whole record: where the next one begins, or would begin.
  Lsn end() const { return end_; }
  // From the first page; 0 before it.
  int version() const { return version_; }
  std::size_t page_size() const { return page_size_; }
  std::uint64_t segment_size() const { return segment_size_; }
  // From the last page.
  TimelineId timeline() const { return timeline_; }

  // What the first segment holds of a record that began before it. nullopt if there is none.
  const std::optional<WalTail>& tail() const { return tail_; }
  // After kMore: what is there of a record that goes on behind the end. nullopt if there is none.
  std::optional<WalHead> head() const;
  // The same as a record without `end` and with a part of its main data. Null if there is none, or
  // if its headers are not whole.
  const WalRecord* unfinished();
  // The last record that was cut off by a crash and then given up. It was not visited.
  std::optional<Lsn> overwritten() const { return overwritten_; }

 private:
  struct PageHeader;

  Status BeginReading(ByteView beginning);
  void TakePage(ByteView page);
  bool CheckPage(const PageHeader& header, ByteView page);
  bool ContinueRecord(const PageHeader& header);
  void GiveUpRecord();
  void TakeRecords(ByteView page, std::size_t position);
  std::size_t TakeTail(ByteView rest, Lsn at);
  void TakePart(ByteView part, Lsn at);
  void TakeWhole(ByteView bytes, Lsn begin);
  bool CheckLength(std::uint32_t length, Lsn begin);
  bool CheckHeader(ByteView header, Lsn begin);
  void EndRecord(WalRecord& record, Lsn end);
  void PassRecord(Lsn begin, Lsn previous, Lsn end);
  bool Wants(std::uint8_t manager) const;
  bool CheckOverwrite(const WalRecord& record);
  // Returns false, for the functions above.
  bool End(WalEnd kind, Lsn where, std::string_view why);
  std::uint64_t tail_left() const {
    return tail_ && !tail_->overwritten ? tail_->length - tail_->taken : 0;
  }

  const Options options_;
  const Visitor visit_;
  std::uint64_t system_identifier_ = 0;
  std::uint64_t segment_size_ = 0;
  std::size_t page_size_ = 0;
  std::uint16_t magic_ = 0;
  int version_ = 0;
  TimelineId timeline_ = 0;

  Bytes rest_;  // the beginning of a page
  Lsn next_page_;
  Lsn filler_end_;  // pages before it are filler behind XLOG_SWITCH
  bool ended_ = false;
  std::optional<Error> error_;  // of the visitor
  WalEnd why_ended_ = WalEnd::kMore;
  std::string why_;
  Lsn end_;

  std::optional<Lsn> previous_;  // where the record before begins
  std::optional<WalTail> tail_;
  bool in_record_ = false;  // partial_ is a record that goes on
  PartialRecord partial_;
  WalRecordHeaders headers_;
  std::optional<Lsn> overwritten_;
  bool expects_overwrite_ = false;  // the next record tells that overwritten_ was given up
};

}  // namespace veza
