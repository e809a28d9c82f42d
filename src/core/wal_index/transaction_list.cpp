#include "core/wal_index/transaction_list.h"

#include <algorithm>
#include <limits>

#include "core/codec/varint.h"
#include "core/wal_index/radix_sort.h"

namespace veza {
namespace {

// The kind of an end.
constexpr std::uint8_t kCommitted = 1;
constexpr std::uint8_t kPrepared = 2;
constexpr std::uint8_t kHasDatabase = 4;
constexpr std::uint8_t kHasSubtransactions = 8;

constexpr std::uint64_t kAlignment = 8;  // of records
// A relation that a record names takes so many bytes of it (XLogRecordBlockHeader and what
// follows).
constexpr std::uint64_t kBytesOfBlock = 20;
constexpr std::uint64_t kMostXid = std::numeric_limits<std::uint32_t>::max();

void Append(Bytes& to, ByteView bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// Of xids, which go round.
std::uint64_t Step(std::uint32_t from, std::uint32_t to) {
  return ZigZag(static_cast<std::int32_t>(to - from));
}

std::uint64_t RandomNumber() {
  std::uint64_t number = 0;
  SystemRandom().Fill({reinterpret_cast<std::uint8_t*>(&number), sizeof number});
  return number | 1;
}

}  // namespace

void TransactionEnds::Clear(Lsn begin) {
  count_ = 0;
  last_begin_ = begin;
  last_time_ = 0;
  last_xid_ = 0;
  for (VarintWriter* const column :
       {&begins_, &sizes_, &times_, &xids_, &kinds_, &databases_, &subtransactions_}) {
    column->Clear();
  }
}

void TransactionEnds::Add(const IndexedEnd& end, std::span<const std::uint32_t> subtransactions) {
  ++count_;
  begins_.Put((end.begin.value - last_begin_.value) / kAlignment);
  last_begin_ = end.begin;
  sizes_.Put((end.end.value - end.begin.value) / kAlignment);
  // Times may be anything, so the difference may not fit: it goes round.
  const auto time = static_cast<std::uint64_t>(end.time.time_since_epoch().count());
  times_.Put(ZigZag(static_cast<std::int64_t>(time - last_time_)));
  last_time_ = time;
  xids_.Put(Step(last_xid_, end.xid));
  last_xid_ = end.xid;
  kinds_.Put(static_cast<std::uint8_t>((end.committed ? kCommitted : 0) |
                                       (end.prepared ? kPrepared : 0) |
                                       (end.database != 0 ? kHasDatabase : 0) |
                                       (subtransactions.empty() ? 0 : kHasSubtransactions)));
  if (end.database != 0) {
    databases_.Put(end.database);
  }
  if (!subtransactions.empty()) {
    subtransactions_.Put(subtransactions.size());
    std::uint32_t last = end.xid;
    for (const std::uint32_t xid : subtransactions) {
      subtransactions_.Put(Step(last, xid));
      last = xid;
    }
  }
}

void TransactionEnds::EncodeTo(Bytes& bytes) const {
  PutVarint(bytes, count_);
  for (const VarintWriter* const column :
       {&begins_, &sizes_, &times_, &xids_, &kinds_, &databases_, &subtransactions_}) {
    Append(bytes, column->written());
  }
}

std::size_t TransactionEnds::memory() const {
  return begins_.memory() + sizes_.memory() + times_.memory() + xids_.memory() + kinds_.memory() +
         databases_.memory() + subtransactions_.memory();
}

TouchedRelations::TouchedRelations() : secret_(RandomNumber()), open_(kOpen) {
  Clear();
}

void TouchedRelations::Clear() {
  for (Open& open : open_) {
    open.count = 0;
  }
  parts_.clear();
  touches_.clear();
  shapes_.clear();
  slots_.assign(1024, 0);
}

// Few, and in order more often than not.
void TouchedRelations::SortFew(std::span<Touch> touches) {
  for (std::size_t i = 1; i < touches.size(); ++i) {
    const Touch touch = touches[i];
    std::size_t to = i;
    for (; to > 0 && touches[to - 1].file > touch.file; --to) {
      touches[to] = touches[to - 1];
    }
    touches[to] = touch;
  }
}

void TouchedRelations::Close(Open& open) {
  if (open.count == 0) {
    return;
  }
  const std::span touches(open.touches.data(), open.count);
  SortFew(touches);
  parts_.push_back(std::uint64_t{open.xid} << 32 | ShapeOf(touches));
  open.count = 0;
}

std::uint64_t TouchedRelations::HashOf(std::span<const Touch> touches) const {
  std::uint64_t hash = touches.size();
  for (const Touch& touch : touches) {
    hash = (hash ^ (std::uint64_t{touch.file} << 32 | touch.blocks)) * secret_;
    hash ^= hash >> 29;
  }
  return hash;
}

std::uint32_t TouchedRelations::ShapeOf(std::span<const Touch> touches) {
  std::size_t slot = HashOf(touches) & (slots_.size() - 1);
  while (slots_[slot] != 0) {
    if (std::ranges::equal(TouchesOf(slots_[slot] - 1), touches)) {
      return slots_[slot] - 1;
    }
    slot = (slot + 1) & (slots_.size() - 1);
  }
  slots_[slot] = static_cast<std::uint32_t>(shapes_.size() + 1);
  shapes_.push_back({touches_.size(), static_cast<std::uint32_t>(touches.size())});
  touches_.insert(touches_.end(), touches.begin(), touches.end());
  if (2 * shapes_.size() > slots_.size()) {
    Grow();
  }
  return static_cast<std::uint32_t>(shapes_.size() - 1);
}

void TouchedRelations::Grow() {
  slots_.assign(2 * slots_.size(), 0);
  for (std::uint32_t shape = 0; shape < shapes_.size(); ++shape) {
    std::size_t slot = HashOf(TouchesOf(shape)) & (slots_.size() - 1);
    while (slots_[slot] != 0) {
      slot = (slot + 1) & (slots_.size() - 1);
    }
    slots_[slot] = shape + 1;
  }
}

// Afterwards there is one part for each xid, ascending.
void TouchedRelations::JoinParts() {
  for (Open& open : open_) {
    Close(open);
  }
  RadixSort(parts_, scratch_, kMostXid << 32);
  std::size_t kept = 0;
  std::vector<Touch> joined;
  for (std::size_t at = 0; at < parts_.size();) {
    std::size_t end = at + 1;
    while (end < parts_.size() && parts_[end] >> 32 == parts_[at] >> 32) {
      ++end;
    }
    std::uint64_t part = parts_[at];
    if (end - at > 1) {
      joined.clear();
      for (std::size_t i = at; i < end; ++i) {
        const auto touches = TouchesOf(static_cast<std::uint32_t>(parts_[i]));
        joined.insert(joined.end(), touches.begin(), touches.end());
      }
      std::ranges::sort(joined, {}, &Touch::file);
      std::size_t last = 0;
      for (std::size_t i = 1; i < joined.size(); ++i) {
        if (joined[i].file == joined[last].file) {
          joined[last].blocks += joined[i].blocks;
        } else {
          joined[++last] = joined[i];
        }
      }
      joined.resize(last + 1);
      part = (part >> 32 << 32) | ShapeOf(joined);
    }
    parts_[kept++] = part;
    at = end;
  }
  parts_.resize(kept);
}

// The relations that are touched, in their order. `ranks` gets the place of each.
void TouchedRelations::PutRelations(const RelationTable& relations, Bytes& bytes,
                                    std::vector<std::uint32_t>& ranks) const {
  std::vector<bool> touched(relations.size());
  for (const std::uint64_t part : parts_) {
    for (const Touch& touch : TouchesOf(static_cast<std::uint32_t>(part))) {
      touched[touch.file] = true;
    }
  }
  ranks.assign(relations.size(), 0);
  std::vector<std::uint32_t> order = relations.Ordered();
  std::erase_if(order, [&](std::uint32_t number) { return !touched[number]; });
  PutVarint(bytes, order.size());
  for (std::uint32_t rank = 0; rank < order.size(); ++rank) {
    const RelationFile& file = relations[order[rank]].file;
    ranks[order[rank]] = rank;
    PutVarint(bytes, file.tablespace);
    PutVarint(bytes, file.database);
    PutVarint(bytes, file.relation);
  }
}

std::size_t TouchedRelations::memory() const {
  return open_.capacity() * sizeof(Open) +
         (parts_.capacity() + scratch_.capacity()) * sizeof(std::uint64_t) +
         touches_.capacity() * sizeof(Touch) + shapes_.capacity() * sizeof(Shape) +
         slots_.capacity() * sizeof(std::uint32_t) + put_shapes_.memory() + put_xids_.memory() +
         put_used_.memory();
}

void TouchedRelations::EncodeTo(const RelationTable& relations, Bytes& bytes) {
  JoinParts();
  std::vector<std::uint32_t> ranks;
  PutRelations(relations, bytes, ranks);
  // Shapes are numbered in the order in which they are used.
  std::vector<std::uint32_t> numbers(shapes_.size(), 0);
  std::uint32_t count = 0;
  put_shapes_.Clear();
  put_xids_.Clear();
  put_used_.Clear();
  std::vector<Touch> touches;
  std::uint32_t last = 0;
  for (const std::uint64_t part : parts_) {
    const auto xid = static_cast<std::uint32_t>(part >> 32);
    put_xids_.Put(xid - last);
    last = xid;
    const auto shape = static_cast<std::uint32_t>(part);
    if (numbers[shape] == 0) {
      numbers[shape] = ++count;
      const auto unordered = TouchesOf(shape);
      touches.assign(unordered.begin(), unordered.end());
      for (Touch& touch : touches) {
        touch.file = ranks[touch.file];
      }
      std::ranges::sort(touches, {}, &Touch::file);
      put_shapes_.Put(touches.size());
      std::uint32_t next = 0;
      for (const Touch& touch : touches) {
        put_shapes_.Put(touch.file - next);
        put_shapes_.Put(touch.blocks - 1);
        next = touch.file + 1;
      }
    }
    put_used_.Put(numbers[shape] - 1);
  }
  PutVarint(bytes, count);
  Append(bytes, put_shapes_.written());
  PutVarint(bytes, parts_.size());
  Append(bytes, put_xids_.written());
  Append(bytes, put_used_.written());
}

// Reading -------------------------------------------------------------------------------------

namespace {

class TransactionsReader {
 public:
  TransactionsReader(ByteView bytes, const SegmentSummary& summary)
      : reader_(bytes),
        begin_(summary.number * summary.segment_size),
        size_(summary.segment_size) {}

  Result<IndexedTransactions> Read() {
    ReadEnds();
    ReadRelations();
    ReadShapes();
    ReadTouches();
    if (!reader_.AtEnd()) {
      return MakeError(ErrorCode::kDataCorrupted, "the index's list of transactions is damaged: {}",
                       reason_.empty() ? "its numbers do not fit" : reason_);
    }
    return std::move(transactions_);
  }

 private:
  void Fail(std::string_view reason) {
    if (!reader_.failed()) {
      reason_ = reason;
      reader_.Fail();
    }
  }
  std::uint32_t TakeXid(std::uint32_t before) {
    const std::uint64_t step = reader_.Take(kMostXid);
    return before + static_cast<std::uint32_t>(FromZigZag(step));
  }

  // A record takes more bytes of the segment than an end of it takes here, so that the segment's
  // size bounds the memory.
  void ReadEnds() {
    constexpr std::size_t kColumns = 5;
    std::vector<IndexedEnd>& ends = transactions_.ends;
    const std::uint64_t count = reader_.TakeCount(kColumns);
    if (count > size_ / kWalRecordHeader) {
      Fail("it has more transactions than the segment has room for");
      return;
    }
    ends.resize(count);
    std::uint64_t at = 0;
    for (IndexedEnd& end : ends) {
      at += reader_.Take(size_ / kAlignment) * kAlignment;
      end.begin = Lsn{begin_ + at};
      at = at < size_ ? at : reader_.Fail();
    }
    for (std::size_t i = 0; i < ends.size(); ++i) {
      const std::uint64_t length = reader_.Take(size_ / kAlignment) * kAlignment;
      ends[i].end = Lsn{ends[i].begin.value + length};
      const std::uint64_t limit = i + 1 < ends.size() ? ends[i + 1].begin.value : begin_ + size_;
      if (length < kWalRecordHeader || ends[i].end.value > limit) {
        Fail("its records overlap");
        return;
      }
    }
    std::uint64_t time = 0;
    for (IndexedEnd& end : ends) {
      time += static_cast<std::uint64_t>(FromZigZag(reader_.Take()));
      end.time = TimePoint(std::chrono::microseconds(static_cast<std::int64_t>(time)));
    }
    std::uint32_t xid = 0;
    for (IndexedEnd& end : ends) {
      xid = TakeXid(xid);
      end.xid = xid;
    }
    ReadKinds();
  }

  void ReadKinds() {
    std::vector<std::uint8_t> kinds(transactions_.ends.size());
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      kinds[i] = static_cast<std::uint8_t>(reader_.Take(15));
      transactions_.ends[i].committed = (kinds[i] & kCommitted) != 0;
      transactions_.ends[i].prepared = (kinds[i] & kPrepared) != 0;
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      if ((kinds[i] & kHasDatabase) != 0) {
        const std::uint64_t database = reader_.Take(kMostXid);
        transactions_.ends[i].database = static_cast<std::uint32_t>(database);
        if (database == 0) {
          Fail("it names no database");
        }
      }
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      if ((kinds[i] & kHasSubtransactions) != 0) {
        ReadSubtransactions(transactions_.ends[i]);
      }
    }
  }

  void ReadSubtransactions(IndexedEnd& end) {
    const std::uint64_t count = reader_.TakeCount();
    if (count == 0) {
      Fail("it names no subtransactions");
    }
    end.subtransactions.resize(count);
    std::uint32_t last = end.xid;
    for (std::uint32_t& xid : end.subtransactions) {
      last = TakeXid(last);
      xid = last;
    }
  }

  void ReadRelations() {
    constexpr std::size_t kNumbers = 3;
    relations_.resize(reader_.TakeCount(kNumbers));
    for (std::size_t i = 0; i < relations_.size(); ++i) {
      RelationFile& file = relations_[i];
      file.tablespace = static_cast<std::uint32_t>(reader_.Take(UINT32_MAX));
      file.database = static_cast<std::uint32_t>(reader_.Take(UINT32_MAX));
      file.relation = static_cast<std::uint32_t>(reader_.Take(UINT32_MAX));
      if (i > 0 && file <= relations_[i - 1]) {
        Fail("its relations are not in order");
        return;
      }
    }
  }

  void ReadShapes() {
    const std::uint64_t count = reader_.TakeCount(3);
    for (std::uint64_t i = 0; i < count && !reader_.failed(); ++i) {
      const std::uint64_t size = reader_.TakeCount(2);
      if (size == 0) {
        Fail("it has an empty list of relations");
        return;
      }
      shapes_.push_back({touches_.size(), size});
      std::uint64_t next = 0;
      for (std::uint64_t j = 0; j < size; ++j) {
        const std::uint64_t file = next + reader_.Take(kMostXid);
        const std::uint64_t blocks = reader_.Take(kMostXid) + 1;
        if (file >= relations_.size()) {
          Fail("it names a relation that is not there");
          return;
        }
        touches_.push_back({0, relations_[file], blocks});
        next = file + 1;
      }
    }
  }

  void ReadTouches() {
    const std::uint64_t count = reader_.TakeCount(2);
    std::vector<std::uint32_t> xids(count);
    std::uint64_t xid = 0;
    for (std::size_t i = 0; i < xids.size(); ++i) {
      const std::uint64_t step = reader_.Take(kMostXid);
      xid += step;
      if (xid > kMostXid || (i > 0 && step == 0)) {
        Fail("its transactions are not in order");
        return;
      }
      xids[i] = static_cast<std::uint32_t>(xid);
    }
    std::uint64_t used = 0;
    for (const std::uint32_t of : xids) {
      const std::uint64_t shape = reader_.Take(used);
      used += shape == used ? 1 : 0;
      if (reader_.failed() || shape >= shapes_.size() ||
          shapes_[shape].size > size_ / kBytesOfBlock - transactions_.touches.size()) {
        Fail("its transactions touch more than the segment has room for");
        return;
      }
      for (std::uint64_t i = 0; i < shapes_[shape].size; ++i) {
        transactions_.touches.push_back(touches_[shapes_[shape].begin + i]);
        transactions_.touches.back().xid = of;
      }
    }
    if (used != shapes_.size()) {
      Fail("it has a list of relations that no transaction uses");
    }
  }

  struct Shape {
    std::size_t begin;
    std::uint64_t size;
  };

  VarintReader reader_;
  const std::uint64_t begin_;
  const std::uint64_t size_;
  std::string_view reason_;
  std::vector<RelationFile> relations_;
  std::vector<IndexedTouch> touches_;  // of the shapes
  std::vector<Shape> shapes_;
  IndexedTransactions transactions_;
};

}  // namespace

Result<IndexedTransactions> ReadIndexedTransactions(ByteView transactions,
                                                    const SegmentSummary& summary) {
  if (transactions.empty()) {
    return IndexedTransactions();
  }
  return TransactionsReader(transactions, summary).Read();
}

}  // namespace veza
