#include "core/timeline/wal_way.h"

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <set>
#include <system_error>
#include <utility>
#include <variant>

#include "core/archive/wal_archive.h"
#include "core/wal/wal_border.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_reader.h"
#include "core/wal_index/event_lines.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"

namespace veza {

namespace {

constexpr std::size_t kCached = 4;
// Of how many segments one listing tells the sizes. A directory is read whole for each listing.
constexpr SegmentNumber kListed = 10'000;

// Consecutive segments of one timeline that one index object covers, or none.
struct Part {
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  Lsn end;
  std::size_t index = 0;   // of `first` on the way
  std::string object;      // empty: no index
  std::size_t number = 0;  // of the object on the way
};

// What is known of some segments, from an index object or from the WAL itself.
struct Known {
  std::optional<IndexObject> object;
  std::vector<Result<Bytes>> events;  // of the object's segments, if they were read ahead
  SegmentIndex read;                  // without an object
};

// What is known of one segment.
struct Found {
  std::shared_ptr<const Known> known;
  std::size_t at = 0;  // in the object

  const SegmentSummary& summary() const {
    return known->object ? known->object->segments()[at] : known->read.summary;
  }
};

// Opens the index objects of the way. While they are asked for one after the other, threads open
// the next ones: most of the time is waiting for the store, and reading the directory.
class IndexOpener {
 public:
  // `names` are in the order of the way. The repository must outlive it.
  IndexOpener(const Repository& repository, std::vector<std::string> names, bool reads_events)
      : repository_(repository), names_(std::move(names)), reads_events_(reads_events) {}

  // Known without an object if that is missing, damaged or of a newer version.
  Result<std::shared_ptr<const Known>> Open(std::size_t index) {
    std::optional<Opened> opened;
    if (const auto ahead = ahead_.find(index); ahead != ahead_.end()) {
      opened = ahead->second.get();
      ahead_.erase(ahead);
    }
    const bool is_next = last_ && index == *last_ + 1;
    last_ = index;
    if (is_next) {
      OpenAhead(index);
    } else {
      ahead_.clear();
    }
    return opened ? std::move(*opened) : OpenNow(index);
  }

 private:
  using Opened = Result<std::shared_ptr<const Known>>;
  static constexpr std::size_t kAhead = 4;

  Opened OpenNow(std::size_t index) const {
    auto known = std::make_shared<Known>();
    Result<IndexObject> object = IndexObject::Open(repository_, names_[index]);
    if (object) {
      known->object.emplace(std::move(*object));
      const std::size_t segments = reads_events_ ? known->object->segments().size() : 0;
      std::size_t size = 0;
      for (std::size_t segment = 0; segment < segments; ++segment) {
        Result<Bytes> part = known->object->ReadEvents(segment);
        if (!part && !IsOfTheObject(part.error())) {
          return part.error();
        }
        size += part ? part->size() : 0;
        if (size > kIndexMostBytes) {
          known->events.clear();  // no archiver writes so much: one part at a time
          break;
        }
        known->events.push_back(std::move(part));
      }
    } else if (!IsOfTheObject(object.error())) {
      return std::move(object.error());
    }
    return std::shared_ptr<const Known>(std::move(known));
  }

  void OpenAhead(std::size_t index) {
    const std::size_t end = std::min(index + 1 + kAhead, names_.size());
    for (std::size_t next = index + 1; next < end; ++next) {
      if (ahead_.contains(next)) {
        continue;
      }
      try {
        ahead_.emplace(next,
                       std::async(std::launch::async, [this, next] { return OpenNow(next); }));
      } catch (const std::system_error&) {
        return;  // no further thread: Open() does it
      }
    }
  }

  const Repository& repository_;
  const std::vector<std::string> names_;
  const bool reads_events_;
  std::map<std::size_t, std::future<Opened>> ahead_;
  std::optional<std::size_t> last_;
};

template <typename Key>
class Cache {
 public:
  std::shared_ptr<const Known> Find(const Key& key) const {
    const auto found = std::ranges::find(entries_, key, &Entry::first);
    return found == entries_.end() ? nullptr : found->second;
  }
  void Add(const Key& key, std::shared_ptr<const Known> known) {
    entries_.emplace_front(key, std::move(known));
    if (entries_.size() > kCached) {
      entries_.pop_back();
    }
  }

 private:
  using Entry = std::pair<Key, std::shared_ptr<const Known>>;
  std::deque<Entry> entries_;
};

std::optional<IndexedEnd> EndOf(const IndexedEvent& event) {
  const auto* end = std::get_if<TransactionEnd>(&event.fact);
  if (const auto* const unknown = std::get_if<UnknownFact>(&event.fact); unknown != nullptr) {
    end = unknown->end ? &*unknown->end : nullptr;
  }
  if (end == nullptr) {
    return std::nullopt;
  }
  return IndexedEnd{.begin = event.begin,
                    .end = event.end,
                    .time = end->time,
                    .xid = end->xid,
                    .database = end->database,
                    .committed = end->committed,
                    .prepared = end->prepared,
                    .subtransactions = end->subtransactions};
}

}  // namespace

class WalWay::State {
 public:
  State(const Repository& repository, const Identity& identity, const Options& options)
      : repository_(repository),
        archive_(repository, identity.system_identifier),
        system_identifier_(identity.system_identifier),
        size_(identity.wal_segment_size),
        options_(options) {}

  Status Cover(const std::vector<WalPiece>& pieces) {
    std::set<TimelineId> timelines;
    for (const WalPiece& piece : pieces) {
      timelines.insert(piece.timeline);
    }
    std::map<TimelineId, std::vector<IndexName>> indexes;
    for (const TimelineId timeline : timelines) {
      const auto first = std::ranges::find(pieces, timeline, &WalPiece::timeline);
      Result<std::vector<IndexName>> listed = ListIndexes(
          repository_, system_identifier_, timeline, SegmentName(timeline, first->first, size_));
      if (!listed && !IsOfTheObject(listed.error())) {
        return std::move(listed.error());
      }
      if (listed) {
        indexes[timeline] = std::move(*listed);
      }
    }
    for (const WalPiece& piece : pieces) {
      const IndexCover cover =
          CoverSegments(indexes[piece.timeline], piece.first, piece.last, size_);
      for (const IndexCover::Part& part : cover.parts) {
        parts_.push_back({piece.timeline, part.first, part.last, piece.end, 0, part.object.name});
      }
      for (const auto& [first, last] : cover.missing) {
        parts_.push_back({piece.timeline, first, last, piece.end, 0, {}});
      }
    }
    std::ranges::sort(parts_, {}, &Part::first);
    std::vector<std::string> objects;
    for (Part& part : parts_) {
      part.index = count_;
      count_ += part.last - part.first + 1;
      if (!part.object.empty()) {
        part.number = objects.size();
        objects.push_back(part.object);
      }
    }
    opener_.emplace(repository_, std::move(objects), options_.reads_events);
    return Ok();
  }

  std::size_t size() const { return count_; }
  std::uint64_t segment_size() const { return size_; }
  bool is_exhausted() const { return is_exhausted_; }
  std::size_t fetched() const { return fetched_; }

  const Part& PartOf(std::size_t index) const {
    return *std::prev(std::ranges::upper_bound(parts_, index, {}, &Part::index));
  }
  Place At(std::size_t index) const {
    const Part& part = PartOf(index);
    return {part.timeline, part.first + (index - part.index), part.end};
  }
  std::size_t IndexOf(SegmentNumber number) const {
    const auto part = std::ranges::lower_bound(parts_, number, {}, &Part::last);
    return part == parts_.end() ? count_
                                : part->index + (std::max(number, part->first) - part->first);
  }

  Result<Found> Find(std::size_t index) {
    const Part& part = PartOf(index);
    const Place place = At(index);
    if (!part.object.empty()) {
      ASSIGN_OR_RETURN(std::optional<Found> found, FindIndexed(part, place));
      if (found) {
        return std::move(*found);
      }
    }
    ASSIGN_OR_RETURN(std::shared_ptr<const Known> known, Fetch(place));
    if (EndsBefore(known->read.summary, place)) {
      first_read_end_ = std::min(first_read_end_.value_or(index), index);
    }
    return Found{std::move(known), 0};
  }

  Result<SegmentSummary> SummaryFrom(std::size_t index, Lsn lsn) {
    ASSIGN_OR_RETURN(SegmentIndex read, Read(At(index), lsn));
    return std::move(read.summary);
  }

  Result<std::size_t> FirstEnd(std::size_t from) {
    const std::size_t read =
        first_read_end_ && *first_read_end_ >= from ? *first_read_end_ : count_;
    for (std::size_t index = from; index < read; ++index) {
      const Part& part = PartOf(index);
      if (part.object.empty()) {
        index = part.index + (part.last - part.first);
        continue;
      }
      const Place place = At(index);
      ASSIGN_OR_RETURN(const std::optional<Found> found, FindIndexed(part, place));
      if (found && EndsBefore(found->summary(), place)) {
        return index;
      }
    }
    return read;
  }

  // The record that begins in the segment and goes on behind it, if it is whole on the way.
  Result<std::optional<IndexedEvent>> Border(std::size_t index, const SegmentSummary& summary) {
    std::optional<IndexedEvent> event;
    if (!summary.head || summary.head->begin >= At(index).end) {
      return event;
    }
    std::vector<WalTail> tails;
    for (std::size_t next = index + 1; next < count_ && At(next).number == At(next - 1).number + 1;
         ++next) {
      ASSIGN_OR_RETURN(const Found found, Find(next));
      if (!found.summary().tail) {
        break;
      }
      tails.push_back(*found.summary().tail);
      if (tails.back().overwritten || tails.back().taken >= tails.back().length) {
        break;
      }
    }
    ASSIGN_OR_RETURN(const BorderOutcome outcome,
                     JoinBorder(*summary.head, tails, {.largest_kept = kIndexLargestKept},
                                [&](const WalRecord& record) {
                                  event = IndexedEvent{record.begin, record.end, record.xid,
                                                       ReadWalFact(record, summary.version)};
                                  return Ok();
                                }));
    if (outcome != BorderOutcome::kRecord) {
      event.reset();
    }
    return event;
  }

  Result<IndexedTransactions> Transactions(std::size_t index, std::optional<Error>* behind) {
    ASSIGN_OR_RETURN(Found found, Find(index));
    Result<IndexedTransactions> transactions = TransactionsOf(index, found);
    if (!transactions && found.known->object && IsOfTheObject(transactions.error())) {
      ASSIGN_OR_RETURN(std::shared_ptr<const Known> known, Fetch(At(index)));
      found = {std::move(known), 0};
      transactions = TransactionsOf(index, found);
    }
    RETURN_IF_ERROR(transactions);
    if (HeadMayBeEnd(found.summary())) {
      Result<std::optional<IndexedEvent>> border = Border(index, found.summary());
      if (!border && behind == nullptr) {
        return std::move(border.error());
      }
      if (!border) {
        *behind = std::move(border.error());
      } else if (std::optional<IndexedEnd> end = *border ? EndOf(**border) : std::nullopt) {
        transactions->ends.push_back(std::move(*end));
      }
    }
    std::erase_if(transactions->ends,
                  [&](const IndexedEnd& end) { return end.begin >= At(index).end; });
    return transactions;
  }

  Result<std::vector<IndexedEvent>> Events(std::size_t index, std::optional<Error>* behind) {
    ASSIGN_OR_RETURN(Found found, Find(index));
    Result<std::vector<IndexedEvent>> events = EventsOf(index, found);
    if (!events && found.known->object && IsOfTheObject(events.error())) {
      ASSIGN_OR_RETURN(std::shared_ptr<const Known> known, Fetch(At(index)));
      found = {std::move(known), 0};
      events = EventsOf(index, found);
    }
    RETURN_IF_ERROR(events);
    Result<std::optional<IndexedEvent>> border = Border(index, found.summary());
    if (!border && behind == nullptr) {
      return std::move(border.error());
    }
    if (!border) {
      *behind = std::move(border.error());
    } else if (*border && IsIndexedEvent((*border)->fact)) {
      events->push_back(std::move(**border));
    }
    std::erase_if(*events, [&](const IndexedEvent& event) { return event.begin >= At(index).end; });
    return events;
  }

  // The first record of the segment that is not before `lsn`, by reading its WAL.
  Result<std::optional<Lsn>> FirstRecordIn(std::size_t index, Lsn lsn) {
    std::optional<Lsn> first;
    const Place place = At(index);
    WalReader reader({.begin = Lsn{place.number * size_},
                      .system_identifier = system_identifier_,
                      .segment_size = size_},
                     [&](const WalRecord& record) {
                       if (!first && record.begin >= lsn) {
                         first = record.begin;
                       }
                       return Ok();
                     });
    RETURN_IF_ERROR(archive_.Read(SegmentName(place.timeline, place.number, size_),
                                  [&](ByteView bytes) { return reader.Feed(bytes); }));
    reader.Finish();
    return first && *first < place.end ? first : std::nullopt;
  }

 private:
  static bool EndsBefore(const SegmentSummary& summary, const Place& place) {
    return EndsWal(summary) && summary.end < place.end;
  }

  Result<IndexedTransactions> TransactionsOf(std::size_t index, const Found& found) const {
    Bytes stored;
    if (found.known->object) {
      ASSIGN_OR_RETURN(stored, found.known->object->ReadTransactions(found.at));
    }
    const Bytes& part = found.known->object ? stored : found.known->read.transactions;
    if (!part.empty()) {
      return ReadIndexedTransactions(part, found.summary());
    }
    if (found.summary().latest_end) {
      return LeftOut(index, found.summary());
    }
    return IndexedTransactions();
  }

  Result<std::vector<IndexedEvent>> EventsOf(std::size_t index, const Found& found) const {
    Bytes stored;
    if (!found.known->events.empty()) {
      ASSIGN_OR_RETURN(stored, found.known->events[found.at]);
    } else if (found.known->object) {
      ASSIGN_OR_RETURN(stored, found.known->object->ReadEvents(found.at));
    }
    const Bytes& part = found.known->object ? stored : found.known->read.events;
    if (!part.empty()) {
      return ReadIndexedEvents(part);
    }
    if (MayHideEvents(found.summary())) {
      return LeftOut(index, found.summary());
    }
    return std::vector<IndexedEvent>();
  }

  // Which doubt it is does not matter: what is not known is not known. Only records of extensions
  // are no events. If the events were left out, that is the first doubt (SegmentIndexer).
  static bool MayHideEvents(const SegmentSummary& summary) {
    return summary.doubt && summary.doubt->reason != kNoBlockOfExtension && !EndsWal(summary);
  }

  // A part of the index is missing because it would have been too large.
  Error LeftOut(std::size_t index, const SegmentSummary& summary) const {
    const Place place = At(index);
    return MakeError(ErrorCode::kDataCorrupted, "what WAL segment \"{}\" says is not known: {}",
                     SegmentName(place.timeline, place.number, size_),
                     summary.doubt ? summary.doubt->reason : "it was left out");
  }

  // What the index object says of the segment. nullopt when it cannot be used.
  Result<std::optional<Found>> FindIndexed(const Part& part, const Place& place) {
    std::shared_ptr<const Known> known = objects_.Find(part.number);
    if (known == nullptr) {
      ASSIGN_OR_RETURN(known, opener_->Open(part.number));
      objects_.Add(part.number, known);
    }
    std::optional<Found> found;
    if (!known->object) {
      return found;
    }
    const std::vector<SegmentSummary>& summaries = known->object->segments();
    const auto summary = std::ranges::find(summaries, place.number, &SegmentSummary::number);
    if (summary == summaries.end() || summary->timeline != place.timeline ||
        summary->segment_size != size_) {
      return found;
    }
    ASSIGN_OR_RETURN(const std::uint64_t stored, StoredSize(place));
    if (summary->stored == stored) {
      found = Found{known, static_cast<std::size_t>(summary - summaries.begin())};
    }
    return found;
  }

  // 0 when it is missing.
  Result<std::uint64_t> StoredSize(const Place& place) {
    const std::pair<TimelineId, SegmentNumber> chunk{place.timeline, place.number / kListed};
    if (listed_ != chunk) {
      const SegmentNumber first = chunk.second * kListed;
      ASSIGN_OR_RETURN(stored_, archive_.Stored(place.timeline, first, first + kListed - 1, size_));
      listed_ = chunk;
    }
    const auto found = std::ranges::lower_bound(stored_, place.number, {}, &StoredSegment::number);
    return found != stored_.end() && found->number == place.number ? found->size : 0;
  }

  Result<std::shared_ptr<const Known>> Fetch(const Place& place) {
    const std::pair<TimelineId, SegmentNumber> key{place.timeline, place.number};
    if (std::shared_ptr<const Known> known = segments_.Find(key); known != nullptr) {
      return known;
    }
    auto known = std::make_shared<Known>();
    ASSIGN_OR_RETURN(known->read, Read(place, Lsn{}));
    known->read.blocks = {};
    segments_.Add(key, known);
    return std::shared_ptr<const Known>(std::move(known));
  }

  Result<SegmentIndex> Read(const Place& place, Lsn count_from) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    if (fetched_ > 0 && (fetched_ + 1) * size_ > options_.most_read) {
      is_exhausted_ = true;
      return MakeError(ErrorCode::kFailedPrecondition,
                       "more than {} MB of the WAL on the way have no index",
                       std::max(options_.most_read, size_) >> 20)
          .WithHint("\"vezactl index\" makes what is missing.");
    }
    ++fetched_;
    indexer_.Begin({.timeline = place.timeline,
                    .number = place.number,
                    .segment_size = size_,
                    .system_identifier = system_identifier_,
                    .count_from = count_from});
    const std::string name = SegmentName(place.timeline, place.number, size_);
    Status read = archive_.Read(name, [&](ByteView bytes) {
      indexer_.Feed(bytes);
      return Ok();
    });
    if (!read) {
      return std::move(read.error()).WithContext(fmt::format("WAL segment \"{}\"", name));
    }
    return indexer_.Finish();
  }

  const Repository& repository_;
  const WalArchive archive_;
  const std::uint64_t system_identifier_;
  const std::uint64_t size_;
  const Options options_;
  std::vector<Part> parts_;
  std::size_t count_ = 0;
  std::optional<IndexOpener> opener_;
  Cache<std::size_t> objects_;
  Cache<std::pair<TimelineId, SegmentNumber>> segments_;
  std::optional<std::pair<TimelineId, SegmentNumber>> listed_;
  std::vector<StoredSegment> stored_;
  SegmentIndexer indexer_;
  std::optional<std::size_t> first_read_end_;  // of those that were read
  std::size_t fetched_ = 0;
  bool is_exhausted_ = false;
};

WalWay::WalWay() = default;
WalWay::~WalWay() = default;
WalWay::WalWay(WalWay&&) noexcept = default;
WalWay& WalWay::operator=(WalWay&&) noexcept = default;

Result<WalWay> WalWay::Open(const Repository& repository, const Identity& identity,
                            const std::vector<WalPiece>& pieces, const Options& options) {
  WalWay way;
  way.state_ = std::make_unique<State>(repository, identity, options);
  RETURN_IF_ERROR(way.state_->Cover(pieces));
  return way;
}

std::size_t WalWay::size() const {
  return state_->size();
}
WalWay::Place WalWay::At(std::size_t index) const {
  return state_->At(index);
}
std::size_t WalWay::IndexOf(SegmentNumber number) const {
  return state_->IndexOf(number);
}
std::uint64_t WalWay::segment_size() const {
  return state_->segment_size();
}
bool WalWay::IsExhausted() const {
  return state_->is_exhausted();
}
std::size_t WalWay::fetched() const {
  return state_->fetched();
}

Result<SegmentSummary> WalWay::Summary(std::size_t index) {
  ASSIGN_OR_RETURN(const Found found, state_->Find(index));
  return found.summary();
}

Result<std::vector<IndexedEnd>> WalWay::Ends(std::size_t index) {
  ASSIGN_OR_RETURN(IndexedTransactions transactions, state_->Transactions(index, nullptr));
  return std::move(transactions.ends);
}

Result<IndexedTransactions> WalWay::Transactions(std::size_t index, std::optional<Error>* behind) {
  return state_->Transactions(index, behind);
}

Result<std::vector<IndexedEvent>> WalWay::Events(std::size_t index, std::optional<Error>* behind) {
  return state_->Events(index, behind);
}

Result<std::optional<Lsn>> WalWay::FirstRecordFrom(Lsn lsn) {
  for (std::size_t index = IndexOf(SegmentOf(lsn, segment_size())); index < size(); ++index) {
    ASSIGN_OR_RETURN(const Found found, state_->Find(index));
    const SegmentSummary& summary = found.summary();
    std::optional<Lsn> first;
    if (summary.records > 0 && lsn <= summary.begin && summary.begin < At(index).end) {
      first = summary.begin;
    } else if (summary.records > 0) {
      ASSIGN_OR_RETURN(first, state_->FirstRecordIn(index, lsn));
    }
    if (!first && summary.head && summary.head->begin >= lsn) {
      ASSIGN_OR_RETURN(const std::optional<IndexedEvent> border, state_->Border(index, summary));
      first = border ? std::optional(border->begin) : std::nullopt;
    }
    if (first || EndsWal(summary)) {
      return first;
    }
  }
  return std::optional<Lsn>();
}

Result<SegmentSummary> WalWay::SummaryFrom(std::size_t index, Lsn lsn) {
  return state_->SummaryFrom(index, lsn);
}

Result<std::size_t> WalWay::FirstEnd(std::size_t from) {
  return state_->FirstEnd(from);
}

bool HeadMayBeEnd(const SegmentSummary& summary) {
  return summary.head && (summary.head->kept.size() <= kWalManagerAt ||
                          summary.head->kept[kWalManagerAt] == kTransactionManager);
}

bool MayHaveEnds(const SegmentSummary& summary) {
  return summary.latest_end || HeadMayBeEnd(summary);
}

bool EndsWal(const SegmentSummary& summary) {
  return summary.ends == WalEnd::kUnwritten || summary.ends == WalEnd::kDamaged;
}

Result<std::optional<IndexedEnd>> LastCommit(WalWay& way, Lsn from) {
  const std::size_t first = way.IndexOf(SegmentOf(from, way.segment_size()));
  ASSIGN_OR_RETURN(const std::size_t end, way.FirstEnd(first));
  for (std::size_t index = std::min(end + 1, way.size()); index-- > first;) {
    ASSIGN_OR_RETURN(const SegmentSummary summary, way.Summary(index));
    if (!MayHaveEnds(summary)) {
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<IndexedEnd> ends, way.Ends(index));
    while (!ends.empty() && !ends.back().committed) {
      ends.pop_back();
    }
    if (!ends.empty()) {
      return ends.back().begin >= from ? std::optional(std::move(ends.back())) : std::nullopt;
    }
  }
  return std::optional<IndexedEnd>();
}

}  // namespace veza
