#include "core/timeline/timeline.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

#include "core/timeline/wal_way.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

constexpr std::size_t kMostDamaged = 100;
// Of relations that a transaction has dropped.
constexpr std::size_t kMostNamed = 10;

std::vector<EventPart> DescribeDropped(const TransactionEnd& end) {
  std::vector<EventPart> parts;
  for (const RelationFile& file : end.dropped) {
    if (parts.size() == kMostNamed) {
      parts.push_back({" …"});
      break;
    }
    parts.push_back(
        {parts.empty() ? fmt::format("{} relation files dropped: ", end.dropped.size()) : " ",
         file});
  }
  return parts;
}

EventPart Database(std::uint32_t database, std::string words = {}) {
  return {std::move(words), RelationFile{.database = database}};
}

std::string DescribeSwitch(TimelineId timeline, TimelineId previous) {
  return fmt::format("recovery ended on timeline {}, which left timeline {}", timeline, previous);
}

struct FactDescriber {
  std::optional<EventText> operator()(const TransactionEnd& end) const {
    if (end.dropped.empty()) {
      return std::nullopt;
    }
    return EventText{"dropped", DescribeDropped(end), end.time};
  }
  std::optional<EventText> operator()(const UnknownFact& unknown) const {
    return EventText{"unknown", {{std::string(unknown.reason)}}};
  }
  std::optional<EventText> operator()(const RestorePointMade& point) const {
    return EventText{"restore_point", {{point.name}}, point.time};
  }
  std::optional<EventText> operator()(const CheckpointMade& checkpoint) const {
    if (checkpoint.timeline != checkpoint.previous_timeline) {
      return EventText{"timeline",
                       {{DescribeSwitch(checkpoint.timeline, checkpoint.previous_timeline)}},
                       checkpoint.time};
    }
    return EventText{"checkpoint",
                     {{fmt::format("{}, redo {}", checkpoint.shutdown ? "shutdown" : "online",
                                   FormatLsn(checkpoint.redo))}},
                     checkpoint.time};
  }
  std::optional<EventText> operator()(const RelationTruncated& cut) const {
    return EventText{"truncated", {{"", cut.file}, {fmt::format(" to {} blocks", cut.blocks)}}};
  }
  std::optional<EventText> operator()(const DatabaseCopied& copied) const {
    return EventText{"database",
                     {Database(copied.database), Database(copied.source_database, " made from ")}};
  }
  std::optional<EventText> operator()(const DatabaseCreated& created) const {
    return EventText{"database", {Database(created.database), {" made"}}};
  }
  std::optional<EventText> operator()(const DatabaseDropped& dropped) const {
    return EventText{"database", {Database(dropped.database), {" dropped"}}};
  }
  std::optional<EventText> operator()(const TablespaceCreated& created) const {
    return EventText{"tablespace", {{fmt::format("{} made", created.tablespace)}}};
  }
  std::optional<EventText> operator()(const TablespaceDropped& dropped) const {
    return EventText{"tablespace", {{fmt::format("{} dropped", dropped.tablespace)}}};
  }
  std::optional<EventText> operator()(const ParametersChanged& changed) const {
    return EventText{
        "parameters",
        {{fmt::format("wal_level = {}, wal_log_hints = {}, max_connections = {}",
                      WalLevelName(changed.wal_level), changed.wal_log_hints ? "on" : "off",
                      changed.max_connections)}}};
  }
  std::optional<EventText> operator()(const FullPageWritesChanged& changed) const {
    return EventText{"parameters",
                     {{fmt::format("full_page_writes = {}", changed.on ? "on" : "off")}}};
  }
  std::optional<EventText> operator()(const ChecksumsChanged& changed) const {
    return EventText{"parameters", {{fmt::format("data checksums: state {}", changed.state)}}};
  }
  std::optional<EventText> operator()(const RecoveryEnded& ended) const {
    return EventText{
        "timeline", {{DescribeSwitch(ended.timeline, ended.previous_timeline)}}, ended.time};
  }
  // The rest says nothing to somebody who chooses a moment.
  template <typename Fact>
  std::optional<EventText> operator()(const Fact& /*unused*/) const {
    return std::nullopt;
  }
};

// The runs of one timeline.
std::map<TimelineId, std::vector<WalPiece>> PiecesOf(const ArchiveMap& archive) {
  std::map<TimelineId, std::vector<WalPiece>> pieces;
  for (const ArchivePiece& piece : archive.Pieces()) {
    if (!piece.is_gap) {
      pieces[piece.timeline].push_back({piece.timeline, piece.first, piece.last,
                                        Lsn{(piece.last + 1) * archive.segment_size()}});
    }
  }
  return pieces;
}

// From where on the WAL of a timeline tells something new. Its first segment begins with a copy of
// what an older one had up to the switch. Mostly no older one is there whole, and the copy is all.
Lsn NewFrom(const ArchiveMap& archive, TimelineId timeline) {
  const std::vector<PathPart> path = archive.PathTo(timeline);
  const SegmentNumber first = SegmentOf(path.back().begin, archive.segment_size());
  for (std::size_t part = path.size() - 1; part-- > 0;) {
    if (archive.RunAt(path[part].timeline, first) != nullptr) {
      return path[part].end;
    }
    if (SegmentOf(path[part].begin, archive.segment_size()) < first) {
      break;
    }
  }
  return Lsn{first * archive.segment_size()};
}

bool IsIn(const TimelineRange& range, TimePoint time) {
  return range.from <= time && time <= range.to;
}

// Whether transactions ended in the segment within the range, as far as times are in order.
bool HasEndsIn(const TimelineRange& range, const SegmentSummary& summary) {
  return summary.latest_end && *summary.latest_end >= range.from &&
         *summary.earliest_end <= range.to;
}

// Counts segments that are passed over, and keeps why.
class Unreadable {
 public:
  Status PassOver(const WalWay& way, std::size_t index, const Error& error) {
    if (way.IsExhausted() && error.code == ErrorCode::kFailedPrecondition) {
      const WalWay::Place place = way.At(index);
      unread_.emplace(place.timeline, place.number);
      return Ok();
    }
    if (!IsOfTheObject(error)) {
      return error;
    }
    if (damaged_.size() < kMostDamaged &&
        std::ranges::find(damaged_, error.message) == damaged_.end()) {
      damaged_.push_back(error.message);
    }
    return Ok();
  }

  // Segments before the one at `index` are missing.
  void NoteGap(const WalWay& way, std::size_t index) {
    const WalWay::Place before = way.At(index - 1);
    const WalWay::Place behind = way.At(index);
    if (damaged_.size() < kMostDamaged) {
      damaged_.push_back(
          fmt::format("WAL from \"{}\" to \"{}\" is missing: what it says is left out",
                      SegmentName(behind.timeline, before.number + 1, way.segment_size()),
                      SegmentName(behind.timeline, behind.number - 1, way.segment_size())));
    }
  }

  // It could be read after all.
  void Forget(const WalWay& way, std::size_t index) {
    unread_.erase({way.At(index).timeline, way.At(index).number});
  }
  std::uint64_t unread() const { return unread_.size(); }
  std::vector<std::string> TakeDamaged() { return std::move(damaged_); }

 private:
  std::set<std::pair<TimelineId, SegmentNumber>> unread_;
  std::vector<std::string> damaged_;
};

class TimelineReader {
 public:
  explicit TimelineReader(const TimelineOptions& options) : options_(options) {}

  // Of the WAL of one timeline, what begins at `begin` or behind it.
  Status Read(WalWay& way, Lsn begin) {
    begin_ = begin;
    last_time_.reset();
    for (std::size_t index = 0; index < way.size(); ++index) {
      ++timeline_.segments;
      const TimelineId timeline = way.At(index).timeline;
      const Result<SegmentSummary> summary = way.Summary(index);
      if (!summary) {
        RETURN_IF_ERROR(unreadable_.PassOver(way, index, summary.error()));
        continue;
      }
      if (options_.load) {
        RETURN_IF_ERROR(AddLoad(way, index, *summary));
      }
      if (options_.events && MayHoldEvents(way, index, *summary)) {
        RETURN_IF_ERROR(AddEvents(way, index, *summary));
      }
      if (summary->last_end) {
        last_time_ = summary->last_end->time;
        marks_[timeline].emplace_back(summary->end, *last_time_);
      }
    }
    return Ok();
  }

  // When the last transaction before `lsn` ended. Not within the segment of `lsn`.
  TimePoint TimeBefore(TimelineId timeline, Lsn lsn) const {
    const auto marks = marks_.find(timeline);
    if (marks == marks_.end()) {
      return {};
    }
    const auto behind =
        std::ranges::upper_bound(marks->second, lsn, {}, &std::pair<Lsn, TimePoint>::first);
    return behind == marks->second.begin() ? TimePoint{} : std::prev(behind)->second;
  }
  Status Add(TimelineEvent event) {
    const bool is_wanted = options_.kinds.empty() || options_.kinds.contains(event.kind);
    if (!is_wanted || !IsIn(options_.range, event.time)) {
      return Ok();
    }
    if (timeline_.events.size() == options_.most) {
      return MakeError(ErrorCode::kInvalidArgument, "more than {} events happened in that time",
                       options_.most)
          .WithHint("Ask for a shorter time.");
    }
    timeline_.events.push_back(std::move(event));
    return Ok();
  }
  ClusterTimeline Finish() {
    for (auto& [key, bucket] : load_) {
      timeline_.load.push_back(bucket);
    }
    std::ranges::stable_sort(timeline_.events, {}, &TimelineEvent::time);
    timeline_.unread = unreadable_.unread();
    timeline_.damaged = unreadable_.TakeDamaged();
    return std::move(timeline_);
  }

 private:
  // Events have no time in the summary. They lie between the last end before the segment and the
  // first one behind it.
  bool MayHoldEvents(WalWay& way, std::size_t index, const SegmentSummary& summary) const {
    const TimePoint from = std::max(options_.range.from, options_.events_from);
    const bool is_before = summary.latest_end && *summary.latest_end < from;
    if (is_before && index + 1 < way.size()) {
      const Result<SegmentSummary> next = way.Summary(index + 1);
      if (next && next->earliest_end && *next->earliest_end < from) {
        return false;
      }
    }
    return !(last_time_ && *last_time_ > options_.range.to && summary.earliest_end &&
             *summary.earliest_end > options_.range.to);
  }

  Status AddLoad(WalWay& way, std::size_t index, const SegmentSummary& summary) {
    const Lsn first{way.At(index).number * way.segment_size()};
    if (first >= begin_) {
      return AddMinutes(way.At(index).timeline, summary);
    }
    const Result<SegmentSummary> own = way.SummaryFrom(index, begin_);
    return own ? AddMinutes(way.At(index).timeline, *own)
               : unreadable_.PassOver(way, index, own.error());
  }

  Status AddMinutes(TimelineId timeline, const SegmentSummary& summary) {
    const std::int64_t width = std::max<std::int64_t>(
        1, std::chrono::floor<std::chrono::minutes>(options_.bucket).count());
    for (const MinuteOfWal& minute : summary.minutes) {
      std::int64_t number = minute.minute;
      if (number == 0 && last_time_) {  // a segment without an end
        number = std::chrono::floor<std::chrono::minutes>(last_time_->time_since_epoch()).count();
      }
      if (number == 0) {
        continue;  // nothing tells when that was
      }
      const TimePoint time{std::chrono::minutes(number)};
      if (time + std::chrono::minutes(1) <= options_.range.from || time > options_.range.to) {
        continue;
      }
      const TimePoint begin{std::chrono::minutes(number / width * width)};
      LoadBucket& bucket = load_[{timeline, begin}];
      bucket.timeline = timeline;
      bucket.begin = begin;
      bucket.commits += minute.commits;
      bucket.aborts += minute.aborts;
      bucket.bytes += minute.bytes;
      bucket.images += minute.images;
      bucket.image_bytes += minute.image_bytes;
    }
    if (load_.size() > options_.most) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "the load in that time takes more than {} lines", options_.most)
          .WithHint("Ask for a shorter time, or for longer buckets.");
    }
    return Ok();
  }

  // Whether the event has the time of the transaction before it. To read the list of those takes a
  // request, and longer than all the rest.
  bool NeedsEnds(const IndexedEvent& event) const {
    const std::optional<EventText> text = DescribeFact(event.fact);
    return text && !text->time && event.begin >= begin_ &&
           (options_.kinds.empty() || options_.kinds.contains(text->kind));
  }

  Status AddEvents(WalWay& way, std::size_t index, const SegmentSummary& summary) {
    const Result<std::vector<IndexedEvent>> events = way.Events(index);
    if (!events) {
      return unreadable_.PassOver(way, index, events.error());
    }
    std::optional<TimePoint> time = last_time_ ? last_time_ : summary.earliest_end;
    std::vector<IndexedEnd> ends;
    if (summary.latest_end && std::ranges::any_of(*events, [this](const IndexedEvent& event) {
          return NeedsEnds(event);
        })) {
      Result<std::vector<IndexedEnd>> read = way.Ends(index);
      if (!read) {
        return unreadable_.PassOver(way, index, read.error());
      }
      ends = std::move(*read);
    }
    auto end = ends.begin();
    for (const IndexedEvent& event : *events) {
      std::optional<EventText> text = DescribeFact(event.fact);
      if (!text || event.begin < begin_) {
        continue;
      }
      for (; end != ends.end() && end->begin <= event.begin; ++end) {
        time = end->time;
      }
      time = text->time ? text->time : time;
      std::string words = JoinParts(text->parts);
      if (std::ranges::none_of(text->parts,
                               [](const EventPart& part) { return part.file.has_value(); })) {
        text->parts.clear();
      }
      RETURN_IF_ERROR(Add({.timeline = way.At(index).timeline,
                           .time = time.value_or(TimePoint{}),
                           .time_is_exact = text->time.has_value(),
                           .lsn = event.begin,
                           .xid = event.xid,
                           .kind = std::move(text->kind),
                           .text = std::move(words),
                           .parts = std::move(text->parts)}));
    }
    return Ok();
  }

  const TimelineOptions options_;
  ClusterTimeline timeline_;
  Unreadable unreadable_;
  std::map<std::pair<TimelineId, TimePoint>, LoadBucket> load_;
  Lsn begin_;
  std::optional<TimePoint> last_time_;
  std::map<TimelineId, std::vector<std::pair<Lsn, TimePoint>>> marks_;  // ascending
};

Status AddBackups(const BackupCatalog& catalog, std::uint64_t system_identifier,
                  TimelineReader& reader) {
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.system_identifier == system_identifier) {
      RETURN_IF_ERROR(reader.Add({.timeline = backup.timeline,
                                  .time = backup.stop_time,
                                  .time_is_exact = true,
                                  .lsn = backup.stop_lsn,
                                  .kind = "backup",
                                  .text = backup.label}));
    }
  }
  return Ok();
}

// A gap has the time of the last transaction before it.
Status AddGaps(const ArchiveMap& archive, TimelineReader& reader) {
  for (const ArchivePiece& piece : archive.Pieces()) {
    if (!piece.is_gap) {
      continue;
    }
    const Lsn begin{piece.first * archive.segment_size()};
    TimelineEvent gap{
        .timeline = piece.timeline,
        .lsn = begin,
        .kind = "gap",
        .text = fmt::format("{} to {} missing",
                            SegmentName(piece.timeline, piece.first, archive.segment_size()),
                            SegmentName(piece.timeline, piece.last, archive.segment_size()))};
    gap.time = reader.TimeBefore(piece.timeline, begin);
    RETURN_IF_ERROR(reader.Add(std::move(gap)));
  }
  return Ok();
}

// The transactions of timelines, one after the other, and what they touched.
class TransactionReader {
 public:
  explicit TransactionReader(const TransactionOptions& options) : options_(options) {}

  // Looks for the segments of the range. Whether there are some.
  Result<bool> Find(WalWay& way) {
    in_range_ = {};
    to_read_ = {};
    gaps_.clear();
    std::optional<TimePoint> last;
    for (std::size_t index = 0; index < way.size(); ++index) {
      if (index > 0 && way.At(index).number != way.At(index - 1).number + 1) {
        gaps_.push_back({index, last, {}});
      }
      const Result<SegmentSummary> summary = way.Summary(index);
      if (!summary) {
        RETURN_IF_ERROR(unreadable_.PassOver(way, index, summary.error()));
        continue;
      }
      if (summary->latest_end) {
        EndGaps(summary->earliest_end.value_or(*summary->latest_end));
        last = summary->latest_end;
      }
      if (HasEndsIn(options_.range, *summary)) {
        in_range_ = {in_range_ ? in_range_->first : index, index};
      }
      if (HasEndsIn(options_.range, *summary) || HeadMayBeEnd(*summary)) {
        to_read_ = {to_read_ ? to_read_->first : index, index};
      }
    }
    NoteGaps(way);
    return to_read_.has_value();
  }

  // Reads what Find() has found. `way` is the same WAL. What begins before `begin` does not count.
  Status Read(WalWay& way, Lsn begin) {
    const std::size_t own = stories_.size();
    const std::size_t first = to_read_->first - std::min(to_read_->first, kSegmentsBefore);
    for (std::size_t index = first; index <= to_read_->second; ++index) {
      std::optional<Error> behind;
      Result<IndexedTransactions> transactions = way.Transactions(index, &behind);
      if (!transactions) {
        if (in_range_ && in_range_->first <= index && index <= in_range_->second) {
          return std::move(transactions.error());
        }
        RETURN_IF_ERROR(unreadable_.PassOver(way, index, transactions.error()));
      } else {
        unreadable_.Forget(way, index);
        RETURN_IF_ERROR(Take(way.At(index).timeline, begin, std::move(*transactions)));
      }
      if (behind) {
        RETURN_IF_ERROR(unreadable_.PassOver(way, index + 1, *behind));
      }
    }
    for (std::size_t story = own; story < stories_.size(); ++story) {
      Touch(stories_[story]);
    }
    while (!touched_.empty()) {
      Forget(touched_.begin()->first);
    }
    return Ok();
  }

  ClusterTransactions Finish() {
    return {std::move(stories_), unreadable_.unread(), unreadable_.TakeDamaged()};
  }

 private:
  using Indexes = std::pair<std::size_t, std::size_t>;  // both included
  // Segments are missing before the one at `index`.
  struct Gap {
    std::size_t index = 0;
    std::optional<TimePoint> after;   // of the last end before it
    std::optional<TimePoint> before;  // of the first end behind it
  };

  void EndGaps(TimePoint next) {
    for (Gap& gap : gaps_) {
      gap.before = gap.before ? gap.before : next;
    }
  }

  // A transaction of the range may have ended in a gap, or have changed something in it.
  void NoteGaps(const WalWay& way) {
    for (const Gap& gap : gaps_) {
      const bool may_have_ends = (!gap.after || *gap.after <= options_.range.to) &&
                                 (!gap.before || *gap.before >= options_.range.from);
      const bool is_read = in_range_ && gap.index + kSegmentsBefore > in_range_->first &&
                           gap.index <= in_range_->second;
      if (may_have_ends || is_read) {
        unreadable_.NoteGap(way, gap.index);
      }
    }
  }

  Status Take(TimelineId timeline, Lsn begin, IndexedTransactions transactions) {
    for (const IndexedTouch& touch : transactions.touches) {
      const auto [blocks, is_new] = touched_[touch.xid].try_emplace(touch.file);
      blocks->second += touch.blocks;
      relations_ += is_new ? 1 : 0;
    }
    for (IndexedEnd& end : transactions.ends) {
      if (IsIn(options_.range, end.time) && end.begin >= begin) {
        RETURN_IF_ERROR(Add(timeline, std::move(end)));
      } else {
        Forget(end);
      }
    }
    if (relations_ > options_.most_touched) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "the transactions of that time changed more than {} relations",
                       options_.most_touched)
          .WithHint("Ask for a shorter time.");
    }
    return Ok();
  }

  Status Add(TimelineId timeline, IndexedEnd end) {
    if (stories_.size() == options_.most) {
      return MakeError(ErrorCode::kInvalidArgument, "more than {} transactions ended in that time",
                       options_.most)
          .WithHint("Ask for a shorter time.");
    }
    stories_.push_back({timeline, std::move(end), {}});
    return Ok();
  }

  // Nobody asks what it touched.
  void Forget(const IndexedEnd& end) {
    Forget(end.xid);
    for (const std::uint32_t xid : end.subtransactions) {
      Forget(xid);
    }
  }
  void Forget(std::uint32_t xid) {
    if (const auto touched = touched_.find(xid); touched != touched_.end()) {
      relations_ -= touched->second.size();
      touched_.erase(touched);
    }
  }

  void Touch(TransactionStory& story) {
    std::map<RelationFile, std::uint64_t> sum;
    const auto add = [&](std::uint32_t xid) {
      const auto touched = touched_.extract(xid);  // so none counts twice, whatever an index says
      if (touched.empty()) {
        return;
      }
      for (const auto& [file, blocks] : touched.mapped()) {
        sum[file] += blocks;
      }
    };
    add(story.end.xid);
    for (const std::uint32_t xid : story.end.subtransactions) {
      add(xid);
    }
    for (const auto& [file, blocks] : sum) {
      story.touched.push_back({file, blocks});
    }
  }

  const TransactionOptions options_;
  Unreadable unreadable_;
  std::vector<TransactionStory> stories_;
  // Of the timeline that is looked at:
  std::vector<Gap> gaps_;            // of the way of the last Find()
  std::optional<Indexes> in_range_;  // the segments in which transactions ended in the range
  std::optional<Indexes> to_read_;   // and in which some may have
  std::map<std::uint32_t, std::map<RelationFile, std::uint64_t>> touched_;
  std::size_t relations_ = 0;  // in touched_, and those of the stories
};

}  // namespace

std::string NumbersOf(const RelationFile& file) {
  return file.relation == 0
             ? std::to_string(file.database)
             : fmt::format("{}/{}/{}", file.tablespace, file.database, file.relation);
}

std::string DescribeTime(const TimelineEvent& event) {
  if (event.time == TimePoint{}) {
    return "";
  }
  return (event.time_is_exact ? "" : "about ") + FormatUtc(event.time);
}

Json EventToJson(const TimelineEvent& event) {
  Json json{{"timeline", event.timeline},
            {"time", event.time == TimePoint{} ? Json(nullptr) : Json(FormatUtc(event.time))},
            {"time_is_exact", event.time_is_exact},
            {"lsn", FormatLsn(event.lsn)},
            {"kind", event.kind},
            {"text", event.text}};
  if (event.xid != 0) {
    json["xid"] = event.xid;
  }
  return json;
}

std::optional<EventText> DescribeFact(const WalFact& fact) {
  return std::visit(FactDescriber{}, fact);
}

std::string JoinParts(const std::vector<EventPart>& parts,
                      const std::function<std::string(const RelationFile&)>& name) {
  std::string text;
  for (const EventPart& part : parts) {
    text += part.words;
    text += part.file ? name(*part.file) : "";
  }
  return text;
}

Result<ClusterTimeline> ReadTimeline(const Repository& repository, const Identity& identity,
                                     const BackupCatalog& catalog, const ArchiveMap& archive,
                                     const TimelineOptions& options) {
  TimelineReader reader(options);
  for (const auto& [timeline, pieces] : PiecesOf(archive)) {
    ASSIGN_OR_RETURN(WalWay way,
                     WalWay::Open(repository, identity, pieces, {.most_read = options.most_read}));
    RETURN_IF_ERROR(reader.Read(way, NewFrom(archive, timeline)));
  }
  RETURN_IF_ERROR(AddBackups(catalog, identity.system_identifier, reader));
  RETURN_IF_ERROR(AddGaps(archive, reader));
  return reader.Finish();
}

Result<ClusterTransactions> ReadTransactions(const Repository& repository, const Identity& identity,
                                             const ArchiveMap& archive,
                                             const TransactionOptions& options) {
  TransactionReader reader(options);
  for (const auto& run : PiecesOf(archive)) {
    const auto open = [&] {
      return WalWay::Open(repository, identity, run.second, {.most_read = options.most_read});
    };
    ASSIGN_OR_RETURN(WalWay way, open());
    ASSIGN_OR_RETURN(const bool has_some, reader.Find(way));
    if (!has_some) {
      continue;
    }
    if (way.fetched() > 0) {  // so that finding the range leaves enough to read it
      ASSIGN_OR_RETURN(way, open());
    }
    RETURN_IF_ERROR(reader.Read(way, NewFrom(archive, run.first)));
  }
  return reader.Finish();
}

}  // namespace veza
