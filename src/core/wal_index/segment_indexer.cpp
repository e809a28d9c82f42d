#include <algorithm>
#include <cstring>
#include <utility>

#include "core/wal/wal_scan.h"
#include "core/wal_index/changed_blocks.h"
#include "core/wal_index/event_lines.h"
#include "core/wal_index/minutes.h"
#include "core/wal_index/segment_index.h"
#include "core/wal_index/transaction_list.h"

namespace veza {
namespace {

// All of a record that lies in one segment is kept up to here: a commit with four million
// subtransactions.
constexpr std::size_t kLargestRecord = std::size_t{16} << 20;
constexpr std::uint32_t kNoBlock = 0xFFFF'FFFF;  // stands for none

// Changes nothing but the blocks that it names: most records, without the cost of a fact.
bool IsOrdinary(const WalRecord& record) {
  constexpr std::uint8_t kHeap2 = 9;
  constexpr std::uint8_t kBrin = 17;
  constexpr std::uint8_t kStrange = 0x0D;  // the lower bits of xl_info, without CHECK_CONSISTENCY
  return !record.blocks.empty() && record.manager >= kHeap2 && record.manager <= kBrin &&
         (record.info & kStrange) == 0;
}

}  // namespace

class SegmentIndexer::State {
 public:
  void Begin(const Options& options) {
    options_ = options;
    begin_ = Lsn{options.number * options.segment_size};
    relations_.Clear();
    blocks_.Clear();
    ends_.Clear(begin_);
    touches_.Clear();
    minutes_.Clear();
    events_.clear();
    leaves_out_events_ = false;
    has_end_ = false;
    earliest_end_ = TimePoint::max();
    latest_end_ = TimePoint::min();
    has_transactions_ = false;
    minimal_.reset();
    index_ = {};
    index_.summary.timeline = options.timeline;
    index_.summary.number = options.number;
    index_.summary.segment_size = options.segment_size;
    reader_.emplace(WalReader::Options{.begin = begin_,
                                       .system_identifier = options.system_identifier,
                                       .segment_size = options.segment_size,
                                       .check_crc = options.check_crc,
                                       .largest_kept = std::min<std::size_t>(options.segment_size,
                                                                             kLargestRecord)},
                    [this](const WalRecord& record) {
                      Look(record);
                      return Ok();
                    });
  }

  void Feed(ByteView bytes) {
    if (const Status fed = reader_->Feed(bytes); !fed) {
      Doubt(begin_, fed.error().message);
    }
  }

  SegmentIndex Finish() {
    SegmentSummary& summary = index_.summary;
    summary.ends = reader_->Finish();
    summary.end = reader_->end();
    summary.version = reader_->version();
    summary.last_page_timeline = reader_->timeline();
    if (summary.last_page_timeline == 0 || summary.ends == WalEnd::kDamaged) {
      Doubt(summary.end, reader_->why().empty() ? "the segment has no WAL" : reader_->why());
    } else if (summary.last_page_timeline > options_.timeline) {
      Doubt(begin_, "a page is of a later timeline");
    }
    TakeBorders();
    if (has_end_) {
      summary.last_end = last_end_;
      summary.earliest_end = earliest_end_;
      summary.latest_end = latest_end_;
    }
    minutes_.MoveTo(summary);
    Encode();
    return std::move(index_);
  }

  std::optional<Lsn> minimal() const { return minimal_; }
  std::size_t memory() const {
    return relations_.memory() + blocks_.memory() + ends_.memory() + touches_.memory() +
           events_.capacity();
  }

 private:
  void Look(const WalRecord& record) {
    SegmentSummary& summary = index_.summary;
    if (summary.records++ == 0) {
      summary.begin = record.begin;
    }
    std::uint64_t images = 0;
    std::uint64_t image_bytes = 0;
    for (const BlockReference& block : record.blocks) {
      images += block.has_image ? 1 : 0;
      image_bytes += block.image_length;
      AddBlock(record, block);
    }
    if (!IsOrdinary(record)) {
      TakeOther(record);
    }
    if (record.begin >= options_.count_from) {
      minutes_.AddBytes(record.length, images, image_bytes);
    }
  }

  void AddBlock(const WalRecord& record, const BlockReference& block) {
    if (block.fork > kInitFork || block.block == kNoBlock) {
      Doubt(record.begin, "the record names a block that cannot exist");
      return;
    }
    const std::uint32_t fork = relations_.NumberOf(block.file, block.fork);
    blocks_.Add(fork, block.block);
    touches_.Add(record.xid, relations_.file_of(fork));
    has_transactions_ = true;
  }

  void TakeOther(const WalRecord& record) {
    if (const std::optional<TimePoint> time = TimeOfPlainCommit(record)) {
      TakeEnd({.begin = record.begin,
               .end = record.end,
               .time = *time,
               .xid = record.xid,
               .committed = true,
               .subtransactions = {}},
              {});
    } else {
      TakeFact(record);
    }
  }

  void TakeFact(const WalRecord& record) {
    if (record.manager == kXlogManager && (record.info & kManagerInfo) == kParameterChange) {
      TakeWalLevel(record.main_data, record.begin, true);
    }
    WalFact fact = ReadWalFact(record, reader_->version());
    if (auto* const unknown = std::get_if<UnknownFact>(&fact)) {
      Doubt(record.begin, unknown->reason);
      if (unknown->end) {
        TakeEnd(record, *unknown->end);
      }
      return;
    }
    if (auto* const end = std::get_if<TransactionEnd>(&fact)) {
      TakeEnd(record, *end);
    }
    if (IsIndexedEvent(fact)) {
      TakeEvent({record.begin, record.end, record.xid, std::move(fact)});
    }
  }

  void TakeEnd(const WalRecord& record, const TransactionEnd& end) {
    TakeEnd({.begin = record.begin,
             .end = record.end,
             .time = end.time,
             .xid = end.xid,
             .database = end.database,
             .committed = end.committed,
             .prepared = end.prepared,
             .subtransactions = {}},
            end.subtransactions);
  }

  void TakeEnd(const IndexedEnd& end, std::span<const std::uint32_t> subtransactions) {
    ends_.Add(end, subtransactions);
    has_transactions_ = true;
    if (end.begin >= options_.count_from) {
      minutes_.AddEnd(end.time, end.committed);
    }
    earliest_end_ = std::min(earliest_end_, end.time);
    latest_end_ = std::max(latest_end_, end.time);
    last_end_ = end;
    has_end_ = true;
  }

  void TakeEvent(const IndexedEvent& event) {
    if (leaves_out_events_) {
      return;
    }
    if (!PutEvent(event, events_) || events_.size() > kIndexMostEncoded) {
      Doubt(begin_, "the segment has more events than its index may hold");
      events_.clear();
      leaves_out_events_ = true;
    }
  }

  void TakeWalLevel(ByteView data, Lsn begin, bool whole) {
    if (TurnsMinimal(data, whole)) {
      minimal_ = minimal_.value_or(begin);
    }
  }

  void TakeBorders() {
    SegmentSummary& summary = index_.summary;
    summary.tail = reader_->tail();
    summary.head = reader_->head();
    if (summary.tail && summary.tail->kept.size() > kIndexLargestKept) {
      summary.tail->kept.resize(kIndexLargestKept);
      summary.tail->kept.shrink_to_fit();
    }
    if (!summary.head) {
      return;
    }
    WalHead& head = *summary.head;
    if (head.kept.size() >= kWalRecordHeader && head.kept[kWalManagerAt] == kXlogManager &&
        (head.kept[kWalInfoAt] & kManagerInfo) == kParameterChange) {
      const WalRecord* const record = reader_->unfinished();
      TakeWalLevel(record == nullptr ? ByteView() : record->main_data, head.begin, false);
    }
    if (head.kept.size() > kIndexLargestKept) {
      head.kept.resize(kIndexLargestKept);
      head.kept.shrink_to_fit();
    }
    if (summary.records == 0) {
      summary.begin = head.begin;
    }
  }

  void Encode() {
    index_.events = events_;
    index_.blocks = blocks_.Encode(relations_);
    if (has_transactions_) {
      ends_.EncodeTo(index_.transactions);
      touches_.EncodeTo(relations_, index_.transactions);
    }
    LeaveOutIfTooLarge(index_.blocks, "the segment changes more blocks than its index may hold");
    LeaveOutIfTooLarge(index_.transactions,
                       "the segment has more transactions than its index may hold");
  }

  void LeaveOutIfTooLarge(Bytes& part, std::string_view reason) {
    if (part.size() > kIndexMostEncoded) {
      part = {};
      Doubt(begin_, reason);
    }
  }

  void Doubt(Lsn lsn, std::string_view reason) {
    SegmentSummary& summary = index_.summary;
    if (!summary.doubt || lsn < summary.doubt->lsn) {
      summary.doubt = WalDoubt{lsn, std::string(reason)};
    }
    ++summary.doubts;
  }

  Options options_;
  Lsn begin_;
  std::optional<WalReader> reader_;
  RelationTable relations_;
  ChangedBlocks blocks_;
  TransactionEnds ends_;
  TouchedRelations touches_;
  MinuteList minutes_;
  Bytes events_;
  bool leaves_out_events_ = false;
  bool has_transactions_ = false;
  bool has_end_ = false;
  IndexedEnd last_end_;
  TimePoint earliest_end_;
  TimePoint latest_end_;
  std::optional<Lsn> minimal_;
  SegmentIndex index_;
};

SegmentIndexer::SegmentIndexer() : state_(std::make_unique<State>()) {}
SegmentIndexer::~SegmentIndexer() = default;

void SegmentIndexer::Begin(const Options& options) {
  state_->Begin(options);
}

void SegmentIndexer::Feed(ByteView bytes) {
  state_->Feed(bytes);
}

SegmentIndex SegmentIndexer::Finish() {
  return state_->Finish();
}

std::optional<Lsn> SegmentIndexer::minimal() const {
  return state_->minimal();
}

std::size_t SegmentIndexer::memory() const {
  return state_->memory();
}

}  // namespace veza
