#include "core/archive/index_builder.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "core/archive/wal_archive.h"
#include "core/codec/stream.h"
#include "core/repository/names.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/work_queue.h"

namespace veza {

namespace {

struct ArchivedSegment {
  TimelineId timeline = 0;
  SegmentNumber number = 0;
  std::uint64_t stored = 0;  // the size of its object
};

// An index object, and whether what it says can be used.
struct KnownIndex {
  std::string name{};
  TimelineId timeline = 0;
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  bool is_good = true;
  std::vector<std::uint64_t> stored{};  // of each segment, if the object was opened

  std::pair<TimelineId, SegmentNumber> begin() const { return {timeline, first}; }
  // Whether it can be used for the segment, as that lies in the repository.
  bool SuitsWal(const ArchivedSegment& segment) const {
    const SegmentNumber at = segment.number - first;
    return is_good && (stored.empty() || (at < stored.size() && stored[at] == segment.stored));
  }
};

// Calls `visit` for each object that has the segment. `indexes` are ordered by begin(). An object
// has kIndexMostSegments at most, so it begins among those few before the segment.
template <typename Indexes, typename Visit>
void ForEachAt(Indexes& indexes, TimelineId timeline, SegmentNumber number, Visit visit) {
  const SegmentNumber earliest = number - std::min<SegmentNumber>(number, kIndexMostSegments - 1);
  auto index =
      std::ranges::lower_bound(indexes, std::pair(timeline, earliest), {}, &KnownIndex::begin);
  for (; index != indexes.end() && index->begin() <= std::pair(timeline, number); ++index) {
    if (number <= index->last) {
      visit(*index);
    }
  }
}

template <typename Wanted>
bool AnyAt(const std::vector<KnownIndex>& indexes, TimelineId timeline, SegmentNumber number,
           Wanted wanted) {
  bool any = false;
  ForEachAt(indexes, timeline, number,
            [&](const KnownIndex& index) { any = any || wanted(index); });
  return any;
}

// The index of one segment, or why there is none.
struct Built {
  ArchivedSegment segment;
  std::optional<Result<SegmentIndex>> index;
};

class Builder {
 public:
  Builder(const Repository& repository, const IndexBuildOptions& options,
          IndexBuildProgress& progress)
      : repository_(repository),
        options_(options),
        progress_(progress),
        queue_(static_cast<std::size_t>(std::max(options.jobs, 1))) {}

  Result<IndexReport> Run() {
    // Before the WAL: an object that is written meanwhile only lets a segment be read in vain.
    RETURN_IF_ERROR(ReadIndexes());
    RETURN_IF_ERROR(FindMissing());
    progress_.segments_total = missing_.size();
    if (!missing_.empty()) {
      RETURN_IF_ERROR(StartThreads());
      RETURN_IF_ERROR(BuildAll());
      RETURN_IF_ERROR(queue_.Finish());
    }
    RETURN_IF_ERROR(RemoveReplaced());
    return std::move(report_);
  }

 private:
  const Environment& environment() const { return repository_.environment(); }

  Status ReadIndexes() {
    ASSIGN_OR_RETURN(const std::vector<IndexName> names,
                     ListIndexes(repository_, options_.system_identifier, options_.timeline));
    for (const IndexName& name : names) {
      KnownIndex index{.name = name.name,
                       .timeline = name.timeline,
                       .first = SegmentNumberOf(name.first, options_.segment_size),
                       .last = SegmentNumberOf(name.last, options_.segment_size),
                       .is_good = name.reader_version >= kWalIndexVersion};
      // Readers pass over an object of more segments than one can have.
      index.is_good = index.is_good && index.last - index.first < kIndexMostSegments;
      if (options_.all && TouchesRange(index)) {
        index.is_good = false;
      } else if (options_.open_objects && name.reader_version == kWalIndexVersion &&
                 TouchesRange(index)) {
        RETURN_IF_ERROR(environment().cancellation->Check());
        RETURN_IF_ERROR(Open(index));
      }
      indexes_.push_back(std::move(index));
    }
    return Ok();
  }

  bool TouchesRange(const KnownIndex& index) const {
    return (!options_.first || *options_.first <= index.last) &&
           (!options_.last || index.first <= *options_.last);
  }

  Status Open(KnownIndex& index) const {
    const Result<IndexObject> object = IndexObject::Open(repository_, index.name);
    if (!object) {
      index.is_good = false;
      return IsOfTheObject(object.error()) ? Ok() : Status(object.error());
    }
    for (const SegmentSummary& segment : object->segments()) {
      index.stored.push_back(segment.stored);
      index.is_good = index.is_good && segment.segment_size == options_.segment_size;
    }
    index.is_good = index.is_good && index.stored.size() == index.last - index.first + 1;
    return Ok();
  }

  bool IsCovered(const ArchivedSegment& segment) const {
    return AnyAt(indexes_, segment.timeline, segment.number,
                 [&](const KnownIndex& index) { return index.SuitsWal(segment); });
  }

  Status FindMissing() {
    std::optional<TimePoint> newest;
    if (options_.grace.count() > 0) {
      ASSIGN_OR_RETURN(const TimePoint now, repository_.store().Now());
      newest = now - options_.grace;
    }
    const std::string prefix =
        options_.timeline ? WalTimelinePrefix(options_.system_identifier, *options_.timeline)
                          : WalSystemPrefix(options_.system_identifier);
    RETURN_IF_ERROR(repository_.store().List(prefix, "", [&](const ObjectInfo& object) {
      const std::optional<ArchivedSegment> segment = ArchivedIn(object);
      if (segment && IsInRange(segment->number) && (!newest || object.modified <= *newest)) {
        Note(*segment, options_.unreadable.contains(object.name));
      }
      return Ok();
    }));
    report_.left = report_.missing - report_.failed - missing_.size();
    return Ok();
  }

  std::optional<ArchivedSegment> ArchivedIn(const ObjectInfo& object) const {
    const std::optional<std::string> file = SegmentIn(object);
    if (!file) {
      return std::nullopt;
    }
    return ArchivedSegment{.timeline = ParseWalFileName(*file)->timeline,
                           .number = SegmentNumberOf(*file, options_.segment_size),
                           .stored = object.size};
  }

  bool IsInRange(SegmentNumber number) const {
    return (!options_.first || *options_.first <= number) &&
           (!options_.last || number <= *options_.last);
  }

  void Note(const ArchivedSegment& segment, bool is_unreadable) {
    ++report_.archived;
    archived_from_.try_emplace(segment.timeline, segment.number);  // they come in order
    if (IsCovered(segment)) {
      return;
    }
    ++report_.missing;
    if (is_unreadable) {
      ++report_.failed;
      return;
    }
    missing_.push_back(segment);
    if (missing_.size() > std::min(options_.most_segments, kMostSegmentsIndexed)) {
      missing_.pop_front();
    }
  }

  Status StartThreads() {
    return queue_.Start(options_.jobs, [this] {
      return [this, indexer = std::make_shared<SegmentIndexer>()](Built* built) -> Status {
        return Build(*indexer, *built);
      };
    });
  }

  // In a thread. An error here ends the work.
  Status Build(SegmentIndexer& indexer, Built& built) {
    RETURN_IF_ERROR(environment().cancellation->Check());
    built.index = Read(indexer, built.segment);
    ++progress_.segments;
    const Result<SegmentIndex>& index = *built.index;
    if (!index && index.error().code != ErrorCode::kDataCorrupted &&
        index.error().code != ErrorCode::kWrongKey &&
        index.error().code != ErrorCode::kUnsupported &&
        index.error().code != ErrorCode::kNotFound) {
      return index.error();
    }
    return Ok();
  }

  Result<SegmentIndex> Read(SegmentIndexer& indexer, const ArchivedSegment& segment) {
    ASSIGN_OR_RETURN(const std::string object, ObjectOf(segment));
    indexer.Begin({.timeline = segment.timeline,
                   .number = segment.number,
                   .segment_size = options_.segment_size,
                   .system_identifier = options_.system_identifier});
    StreamOpener opener(
        repository_.seal_policy(), object,
        [&](ByteView plain) {
          indexer.Feed(plain);
          return Ok();
        },
        WalArchive::LargestContent(WalFileKind::kSegment, options_.segment_size));
    std::uint64_t stored = 0;
    RETURN_IF_ERROR(repository_.store().Get(object, {}, [&](ByteView piece) {
      stored += piece.size();
      progress_.bytes_read += piece.size();
      return opener.Feed(piece);
    }));
    RETURN_IF_ERROR(opener.Finish());
    const std::optional<ContentDigest>& digest = opener.attributes()->plain_digest;
    if (!digest) {
      return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" has no digest of its content",
                       object);
    }
    SegmentIndex index = indexer.Finish();
    index.summary.digest = *digest;
    index.summary.stored = stored;
    return index;
  }

  Result<std::string> ObjectOf(const ArchivedSegment& segment) const {
    return WalObjectName(options_.system_identifier,
                         SegmentName(segment.timeline, segment.number, options_.segment_size));
  }

  // As many segments at a time as there are threads, so that memory is bounded. They are added to
  // objects in their order.
  Status BuildAll() {
    IndexObjectWriter writer(repository_, options_.system_identifier);
    const auto at_a_time = static_cast<std::size_t>(std::max(options_.jobs, 1));
    for (std::size_t begin = 0; begin < missing_.size(); begin += at_a_time) {
      std::vector<Built> batch;
      for (std::size_t i = begin; i < std::min(begin + at_a_time, missing_.size()); ++i) {
        batch.push_back({.segment = missing_[i], .index = std::nullopt});
      }
      // The threads use the batch until the queue is idle. If it is not, they are ended first.
      Status built = Ok();
      for (Built& one : batch) {
        built = built ? queue_.Push(&one) : built;
      }
      built = built ? queue_.WaitUntilIdle() : built;
      if (!built) {
        [[maybe_unused]] const Status ended = queue_.Finish();
        return built;
      }
      for (Built& one : batch) {
        RETURN_IF_ERROR(Add(writer, one));
      }
    }
    return Store(writer);
  }

  Status Add(IndexObjectWriter& writer, Built& built) {
    if (!*built.index) {
      // Expiry may have removed it since it was listed.
      if (built.index->error().code != ErrorCode::kNotFound) {
        ++report_.failed;
        if (report_.failures.size() < kMostIndexFailures) {
          ASSIGN_OR_RETURN(std::string object, ObjectOf(built.segment));
          report_.failures.push_back({std::move(object), built.index->error()});
        }
      }
      return Ok();
    }
    if (!writer.Fits(**built.index)) {
      RETURN_IF_ERROR(Store(writer));
    }
    writer.Add(std::move(**built.index));
    pending_.push_back(built.segment);
    return writer.full() ? Store(writer) : Ok();
  }

  Status Store(IndexObjectWriter& writer) {
    if (writer.empty()) {
      return Ok();
    }
    RETURN_IF_ERROR(environment().cancellation->Check());
    KnownIndex index{.timeline = pending_.front().timeline,
                     .first = pending_.front().number,
                     .last = pending_.back().number};
    ASSIGN_OR_RETURN(index.name, writer.Store());
    ++report_.objects;
    report_.made += pending_.size();
    pending_.clear();
    written_.push_back(std::move(index));
    return Ok();
  }

  // Removes what is no good, if something good is there for all of its segments.
  Status RemoveReplaced() {
    for (const ArchivedSegment& segment : missing_) {
      ForEachAt(indexes_, segment.timeline, segment.number, [](KnownIndex& index) {
        index.is_good = false;  // it did not suit the WAL object
      });
    }
    std::ranges::sort(written_, {}, &KnownIndex::begin);
    for (const KnownIndex& old : indexes_) {
      if (!old.is_good && IsCoveredByOthers(old)) {
        const Status deleted = repository_.store().Delete(old.name);
        if (!deleted && deleted.error().code == ErrorCode::kPermissionDenied) {
          ++report_.undeletable;  // a server that may only add; it does no harm beside the good one
          continue;
        }
        RETURN_IF_ERROR(deleted);
        ++report_.removed;
      }
    }
    return Ok();
  }

  bool IsCoveredByOthers(const KnownIndex& old) const {
    const auto is_good = [](const KnownIndex& other) { return other.is_good; };
    // Retention may have removed what came before.
    const auto from = archived_from_.find(old.timeline);
    const bool listed_all = from != archived_from_.end() && !options_.first;
    const SegmentNumber first = listed_all ? std::max(old.first, from->second) : old.first;
    for (SegmentNumber number = first; number <= old.last; ++number) {
      if (!AnyAt(written_, old.timeline, number, is_good) &&
          !AnyAt(indexes_, old.timeline, number, is_good)) {
        return false;
      }
    }
    return true;
  }

  const Repository& repository_;
  const IndexBuildOptions& options_;
  IndexBuildProgress& progress_;
  std::vector<KnownIndex> indexes_;                    // ordered by name
  std::deque<ArchivedSegment> missing_;                // by timeline and number
  std::map<TimelineId, SegmentNumber> archived_from_;  // the first one in the range
  std::vector<ArchivedSegment> pending_;               // what is in the writer
  std::vector<KnownIndex> written_;
  IndexReport report_;
  WorkQueue<Built*> queue_;  // last: its threads use the others
};

}  // namespace

Result<IndexReport> BuildIndex(const Repository& repository, const IndexBuildOptions& options,
                               IndexBuildProgress& progress) {
  return Builder(repository, options, progress).Run();
}

}  // namespace veza
