#include "core/backup/read_wal_changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/storage/unique_fd.h"
#include "core/wal/wal_border.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/segment_index.h"
#include "core/work_queue.h"

namespace veza {
namespace {

// Segments that wait for a thread.
constexpr std::size_t kQueueLimit = 64;
constexpr std::size_t kPiece = 1U << 20;
// Runs of blocks that are noted with one lock.
constexpr std::size_t kRunsAtOnce = 4096;

struct Segment {
  TimelineId timeline = 0;
  SegmentNumber number = 0;
  std::shared_ptr<const IndexObject> object{};  // null if no index covers it
  std::size_t at = 0;                           // in the object
};

struct BlockRun {
  RelationFork fork;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// What is kept of a segment until its neighbours are known.
struct Border {
  int version = 0;
  std::optional<WalTail> tail;
  std::optional<WalHead> head;
};

class Reader {
 public:
  Reader(const Repository& repository, const WalInterval& interval)
      : repository_(repository),
        archive_(repository, interval.system_identifier),
        interval_(interval),
        first_(SegmentOf(interval.from, interval.segment_size)),
        last_(SegmentOf(interval.to, interval.segment_size)),
        changes_(std::make_shared<WalChanges>()),
        next_(first_) {}

  Result<WalChangesFound> Run() {
    WorkQueue<Segment> queue(kQueueLimit);
    RETURN_IF_ERROR(queue.Start(
        interval_.jobs, [this] { return [this](Segment& segment) { return Take(segment); }; }));
    const Status pushed = PushSegments(queue);
    if (!pushed) {
      queue.Fail(pushed.error());
    }
    const Status finished = queue.Finish();
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    if (!finished && changes_->doubt().empty()) {
      return finished.error();
    }
    if (finished && next_ <= last_) {
      changes_->NoteDoubt("not all segments were read");
    } else if (finished && !interval_.without_proof) {
      if (std::string doubt = DoubtOfHistory(facts_, interval_.own); !doubt.empty()) {
        changes_->NoteDoubt(std::move(doubt));
      }
    }
    changes_->Finish();
    found_.doubt = changes_->doubt();
    if (found_.doubt.empty()) {
      found_.changes = changes_;
    }
    return std::move(found_);
  }

 private:
  std::string NameOf(const Segment& segment) const {
    return SegmentName(segment.timeline, segment.number, interval_.segment_size);
  }

  std::string WalFileOf(const Segment& segment) const {
    return fmt::format("{}/{}", interval_.wal_directory, NameOf(segment));
  }

  // Ends the reading. Run() does not take this for an error.
  Status Doubt(std::string reason) {
    const std::lock_guard lock(mutex_);
    changes_->NoteDoubt(std::move(reason));
    return EndIfInDoubt();
  }
  Status EndIfInDoubt() const {
    return changes_->doubt().empty()
               ? Ok()
               : MakeError(ErrorCode::kFailedPrecondition, "{}", changes_->doubt());
  }

  // Segments of one timeline, and what covers them.
  struct Stretch {
    TimelineId timeline = 0;
    IndexCover cover;
  };

  // Where the way changes its timeline within a segment, the segment of the later one has it all.
  Status PushSegments(WorkQueue<Segment>& queue) {
    std::vector<Stretch> stretches;
    SegmentNumber missing = 0;
    for (SegmentNumber number = first_; number <= last_;) {
      const TimelineId timeline = TimelineOnPath(interval_.history, number, interval_.segment_size);
      SegmentNumber last = number;
      while (last < last_ &&
             TimelineOnPath(interval_.history, last + 1, interval_.segment_size) == timeline) {
        ++last;
      }
      ASSIGN_OR_RETURN(IndexCover cover, CoverOf(timeline, number, last));
      for (const auto& [from, to] : cover.missing) {
        missing += to - from + 1;
      }
      stretches.push_back({timeline, std::move(cover)});
      number = last + 1;
    }
    RETURN_IF_ERROR(RequireFew(missing));
    for (const Stretch& stretch : stretches) {
      RETURN_IF_ERROR(PushStretch(stretch, queue));
    }
    return Ok();
  }

  // So many segments are read without an index.
  Status RequireFew(SegmentNumber segments) {
    if (segments <= interval_.most_unindexed / interval_.segment_size) {
      return Ok();
    }
    return Doubt(fmt::format(
        "{} MB of WAL would have to be read without an index, more than the limit of {} MB",
        segments * (interval_.segment_size >> 20), interval_.most_unindexed >> 20));
  }

  Result<IndexCover> CoverOf(TimelineId timeline, SegmentNumber first, SegmentNumber last) const {
    Result<std::vector<IndexName>> listed =
        ListIndexes(repository_, interval_.system_identifier, timeline,
                    SegmentName(timeline, first, interval_.segment_size));
    if (!listed && !IsOfTheObject(listed.error())) {
      return listed.error();
    }
    const std::vector<IndexName> indexes = listed ? std::move(*listed) : std::vector<IndexName>();
    return CoverSegments(indexes, first, last, interval_.segment_size);
  }

  Status PushStretch(const Stretch& stretch, WorkQueue<Segment>& queue) {
    // In the order of WAL, because records across borders are kept until both sides are there.
    std::map<SegmentNumber, std::pair<SegmentNumber, const IndexCover::Part*>> runs;
    for (const auto& [from, to] : stretch.cover.missing) {
      runs[from] = {to, nullptr};
    }
    for (const IndexCover::Part& part : stretch.cover.parts) {
      runs[part.first] = {part.last, &part};
    }
    for (const auto& [from, run] : runs) {
      RETURN_IF_ERROR(PushRun(stretch.timeline, from, run.first, run.second, queue));
    }
    return Ok();
  }

  // `part` is null for segments that no index covers.
  Status PushRun(TimelineId timeline, SegmentNumber first, SegmentNumber last,
                 const IndexCover::Part* part, WorkQueue<Segment>& queue) {
    std::shared_ptr<const IndexObject> object;
    if (part != nullptr) {
      Result<IndexObject> opened = IndexObject::Open(repository_, part->object.name);
      if (!opened && !IsOfTheObject(opened.error())) {
        return opened.error();
      }
      if (opened) {
        object = std::make_shared<const IndexObject>(std::move(*opened));
      }
    }
    for (SegmentNumber number = first; number <= last; ++number) {
      RETURN_IF_ERROR(queue.Push(SegmentOfIndex(object, timeline, number)));
    }
    return Ok();
  }

  static Segment SegmentOfIndex(const std::shared_ptr<const IndexObject>& object,
                                TimelineId timeline, SegmentNumber number) {
    Segment segment{.timeline = timeline, .number = number};
    if (object != nullptr) {
      const std::vector<SegmentSummary>& summaries = object->segments();
      const auto found = std::ranges::find(summaries, number, &SegmentSummary::number);
      if (found != summaries.end() && found->timeline == timeline) {
        segment.object = object;
        segment.at = static_cast<std::size_t>(found - summaries.begin());
      }
    }
    return segment;
  }

  // --- In the threads

  Status Take(const Segment& segment) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    SegmentFacts facts{.name = NameOf(segment)};
    const bool is_ours =
        interval_.without_proof ? IsOnlyOurs(segment) : segment.number > interval_.own.last;
    std::optional<ObjectAttributes> stored;
    if (!is_ours && (!interval_.without_proof || segment.object != nullptr)) {
      ASSIGN_OR_RETURN(stored, ReadSegmentAttributes(archive_, facts.name));
    }
    if (!interval_.without_proof && !is_ours) {
      if (!stored) {
        const Result<bool> is_taken = archive_.IsTaken(facts.name);
        if (!is_taken && !IsOfTheObject(is_taken.error())) {
          return is_taken.error();
        }
        return Doubt(
            !is_taken || *is_taken
                ? fmt::format("WAL segment \"{}\" is damaged in the repository", facts.name)
                : fmt::format("the repository does not have WAL segment \"{}\"", facts.name));
      }
      facts.link = LinkTo(facts.name, *stored->plain_digest);
      facts.origin = stored->origin;
    }
    if (stored && segment.object != nullptr) {
      ASSIGN_OR_RETURN(const std::optional<SegmentIndex> index,
                       ReadIndex(segment, *stored->plain_digest));
      if (index) {
        return Note(segment, *index, std::move(facts), &found_.indexed);
      }
    }
    RETURN_IF_ERROR(RequireFew(++unindexed_));
    bool is_damaged = false;
    ASSIGN_OR_RETURN(const std::optional<SegmentIndex> made, MakeIndex(segment, is_damaged));
    if (made) {
      return Note(segment, *made, std::move(facts), &found_.read);
    }
    return Doubt(fmt::format("WAL segment \"{}\" {}", facts.name,
                             WhyUnread(segment, !interval_.without_proof && is_ours, is_damaged)));
  }

  // A clause without its subject. `is_damaged`: what the repository has cannot be used.
  std::string WhyUnread(const Segment& segment, bool is_ours, bool is_damaged) const {
    const bool in_pg_wal = access(WalFileOf(segment).c_str(), F_OK) == 0;
    if (!in_pg_wal && !is_damaged && !is_ours) {
      return "is neither in pg_wal nor in the repository";
    }
    return fmt::format("{}, and {}", in_pg_wal ? "is damaged in pg_wal" : "is not in pg_wal",
                       is_damaged ? "is damaged in the repository"
                       : is_ours  ? "is not known to be in the repository"
                                  : "is not in the repository");
  }

  // Whether the server is still to archive the segment. What the repository has under its name may
  // be of another server.
  bool IsOnlyOurs(const Segment& segment) const {
    return access(
               fmt::format("{}/archive_status/{}.ready", interval_.wal_directory, NameOf(segment))
                   .c_str(),
               F_OK) == 0;
  }

  // `wal` is the digest of the stored segment. nullopt when its index may not be used, for whatever
  // reason.
  Result<std::optional<SegmentIndex>> ReadIndex(const Segment& segment,
                                                const ContentDigest& wal) const {
    std::optional<SegmentIndex> none;
    SegmentIndex index;
    index.summary = segment.object->segments()[segment.at];
    const Status read = [&]() -> Status {
      if (wal != index.summary.digest || !Fits(segment, index.summary)) {
        return MakeError(ErrorCode::kDataCorrupted, "it was made from other WAL");
      }
      ASSIGN_OR_RETURN(index.blocks, segment.object->ReadBlocks(segment.at));
      ASSIGN_OR_RETURN(index.events, segment.object->ReadEvents(segment.at));
      return Ok();
    }();
    if (read) {
      return std::optional(std::move(index));
    }
    return IsOfTheObject(read.error()) ? Result<std::optional<SegmentIndex>>(none) : read.error();
  }

  // From pg_wal, which has the newest WAL, or from the repository. nullopt when neither has it
  // whole; `is_damaged` then tells whether the repository has an object that cannot be used. What
  // is not known to be the same in both comes from one of them only.
  Result<std::optional<SegmentIndex>> MakeIndex(const Segment& segment, bool& is_damaged) const {
    const bool proof = !interval_.without_proof;
    std::optional<SegmentIndex> index;
    if (!proof || segment.number >= interval_.own.first) {
      index = FromWalDirectory(segment);
    }
    if ((index && Reaches(segment, index->summary)) ||
        (proof && segment.number > interval_.own.last)) {
      return index;
    }
    SegmentIndexer indexer;
    Begin(segment, indexer);
    std::uint64_t size = 0;
    const Status read = archive_.Read(NameOf(segment), [&](ByteView bytes) {
      indexer.Feed(bytes);
      size += bytes.size();
      return repository_.environment().cancellation->Check();
    });
    if (read && size == interval_.segment_size) {
      return std::optional(indexer.Finish());
    }
    is_damaged = read || read.error().code != ErrorCode::kNotFound;
    if (read) {
      return index;
    }
    return IsOfTheObject(read.error()) ? Result<std::optional<SegmentIndex>>(std::move(index))
                                       : read.error();
  }

  void Begin(const Segment& segment, SegmentIndexer& indexer) const {
    indexer.Begin({.timeline = segment.timeline,
                   .number = segment.number,
                   .segment_size = interval_.segment_size,
                   .system_identifier = interval_.system_identifier});
  }

  // nullopt when there is no such file, or it cannot be read. While it is read, the server may take
  // it for a later segment: the reader finds other addresses in its pages then, and ends there.
  std::optional<SegmentIndex> FromWalDirectory(const Segment& segment) const {
    const UniqueFd file(
        open(WalFileOf(segment).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat info {};
    if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return std::nullopt;
    }
    SegmentIndexer indexer;
    Begin(segment, indexer);
    Bytes piece(kPiece);
    for (std::uint64_t at = 0; at < interval_.segment_size;) {
      const ssize_t bytes = pread(file.get(), piece.data(), piece.size(), static_cast<off_t>(at));
      if (bytes < 0 && errno == EINTR) {
        continue;
      }
      if (bytes <= 0 || repository_.environment().cancellation->cancelled()) {
        return std::nullopt;  // the server's files are whole
      }
      indexer.Feed(ByteView(piece).first(static_cast<std::size_t>(bytes)));
      at += static_cast<std::uint64_t>(bytes);
    }
    return indexer.Finish();
  }

  // Whether the index knows all of the segment that is in the interval.
  bool Reaches(const Segment& segment, const SegmentSummary& summary) const {
    if (segment.number == last_) {
      return summary.end >= interval_.to;
    }
    return summary.ends == WalEnd::kMore || summary.ends == WalEnd::kSwitch;
  }

  // Whether the index can be one of the segment.
  bool Fits(const Segment& segment, const SegmentSummary& summary) const {
    const Lsn begin{segment.number * interval_.segment_size};
    const Lsn end{begin.value + interval_.segment_size};
    const auto is_inside = [&](Lsn lsn) { return begin <= lsn && lsn <= end; };
    return summary.segment_size == interval_.segment_size && is_inside(summary.end) &&
           (summary.begin == Lsn{} || is_inside(summary.begin)) &&
           (!summary.head || is_inside(summary.head->begin));
  }

  Status Note(const Segment& segment, const SegmentIndex& index, SegmentFacts facts,
              std::size_t* counter) {
    const SegmentSummary& summary = index.summary;
    if (!Reaches(segment, summary)) {
      return Doubt(fmt::format("WAL in segment \"{}\" can be read up to {} only", NameOf(segment),
                               FormatLsn(summary.end)));
    }
    // The server may be writing behind the interval just now.
    if (summary.doubt && (segment.number != last_ || summary.doubt->lsn < interval_.to)) {
      return Doubt(fmt::format("at {}, {}", FormatLsn(summary.doubt->lsn), summary.doubt->reason));
    }
    if (const Status noted = NoteParts(index); !noted) {
      RETURN_IF_ERROR(repository_.environment().cancellation->Check());
      return Doubt(fmt::format("the index of WAL segment \"{}\" cannot be read: {}",
                               NameOf(segment), noted.error().message));
    }
    facts.has_end = summary.last_end.has_value();
    const std::lock_guard lock(mutex_);
    ++*counter;
    if (!interval_.without_proof) {
      facts_.emplace(segment.number, std::move(facts));
    }
    borders_[segment.number] = {summary.version, summary.tail, summary.head};
    JoinBorders();
    return EndIfInDoubt();
  }

  Status NoteParts(const SegmentIndex& index) {
    ASSIGN_OR_RETURN(const std::vector<IndexedEvent> events, ReadIndexedEvents(index.events));
    {
      const std::lock_guard lock(mutex_);
      for (const IndexedEvent& event : events) {
        changes_->NoteFact(event.begin, event.fact);
      }
    }
    // A reference to a block takes so many bytes of WAL at least.
    constexpr std::uint64_t kReference = 8;
    std::uint64_t left = interval_.segment_size / kReference;
    std::vector<BlockRun> runs;
    RETURN_IF_ERROR(ReadIndexedBlocks(
        index.blocks,
        [&](const RelationFork& fork, std::uint32_t first, std::uint32_t count) -> Status {
          if (count > left) {
            return MakeError(ErrorCode::kDataCorrupted,
                             "it names more blocks than a segment can change");
          }
          left -= count;
          runs.push_back({fork, first, count});
          return runs.size() < kRunsAtOnce ? Ok() : NoteRuns(runs);
        }));
    return NoteRuns(runs);
  }

  Status NoteRuns(std::vector<BlockRun>& runs) {
    const std::lock_guard lock(mutex_);
    for (const BlockRun& run : runs) {
      changes_->NoteBlocks(run.fork.file, run.fork.fork, run.first, run.count);
    }
    runs.clear();
    return repository_.environment().cancellation->Check();
  }

  // --- With the lock: records that lie in several segments

  // Goes on as far as all that is needed is there. A record that begins before the interval is of
  // no interest. One that goes on behind the last segment begins behind the interval.
  void JoinBorders() {
    for (auto border = borders_.find(next_); border != borders_.end();
         border = borders_.find(next_)) {
      const std::optional<WalHead>& head = border->second.head;
      if (next_ < last_ && !head && !borders_.contains(next_ + 1)) {
        return;
      }
      if (next_ < last_ && !head && borders_[next_ + 1].tail) {
        changes_->NoteDoubt(fmt::format(
            "WAL segment {} goes on with a record that the segment before it does not have",
            next_ + 1));
      }
      if (head && head->begin < interval_.to && !JoinBorderOf(next_, border->second)) {
        return;
      }
      borders_.erase(border);
      ++next_;
    }
  }

  // False when a segment behind it must be waited for.
  bool JoinBorderOf(SegmentNumber number, const Border& border) {
    std::vector<WalTail> tails;
    bool is_whole = false;
    while (!is_whole && number + tails.size() < last_) {
      const auto next = borders_.find(number + tails.size() + 1);
      if (next == borders_.end()) {
        return false;
      }
      if (!next->second.tail) {
        break;
      }
      tails.push_back(*next->second.tail);
      is_whole = tails.back().overwritten || tails.back().taken >= tails.back().length;
    }
    const Result<BorderOutcome> joined =
        JoinBorder(*border.head, tails, {.largest_kept = kIndexLargestKept},
                   [&](const WalRecord& record) -> Status {
                     for (const BlockReference& block : record.blocks) {
                       changes_->NoteBlocks(block.file, block.fork, block.block, 1);
                     }
                     changes_->NoteFact(record.begin, ReadWalFact(record, border.version));
                     return Ok();
                   });
    if (!joined || *joined == BorderOutcome::kIncomplete) {
      changes_->NoteDoubt(
          fmt::format("the WAL record at {} is not whole", FormatLsn(border.head->begin)));
    }
    return true;
  }

  const Repository& repository_;
  const WalArchive archive_;
  const WalInterval& interval_;
  const SegmentNumber first_;
  const SegmentNumber last_;

  std::mutex mutex_;  // guards what follows while threads run
  std::shared_ptr<WalChanges> changes_;
  std::map<SegmentNumber, Border> borders_;  // from next_ on
  SegmentNumber next_;                       // the first one that is not joined yet
  WalChangesFound found_;
  std::map<SegmentNumber, SegmentFacts> facts_;
  std::atomic<SegmentNumber> unindexed_{0};  // segments
};

// The part of the full is proven by the full only where its WAL is read from its own segments.
bool LeavesTimelineOfParent(const WalInterval& interval) {
  return !interval.without_proof &&
         TimelineOnPath(interval.history, SegmentBefore(interval.parent_end, interval.segment_size),
                        interval.segment_size) != interval.from_timeline;
}

}  // namespace

Result<WalChangesFound> ReadWalChanges(const Repository& repository, const WalInterval& interval) {
  if (interval.to < interval.from) {
    return WalChangesFound{
        .changes = nullptr,
        .doubt = fmt::format("the backup begins at {}, before its parent", FormatLsn(interval.to))};
  }
  if (!interval.without_proof && !interval.own.is_known) {
    return WalChangesFound{
        .changes = nullptr,
        .doubt = "no WAL segment in the repository is known to be this server's own"};
  }
  if (LeavesTimelineOfParent(interval)) {
    return WalChangesFound{
        .changes = nullptr,
        .doubt = "the timeline changed in the WAL segment in which the full backup ended"};
  }
  return Reader(repository, interval).Run();
}

}  // namespace veza
