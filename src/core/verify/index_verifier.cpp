#include "core/verify/index_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/repository/names.h"
#include "core/wal_index/summary_json.h"

namespace veza {

namespace {

// Segments are read in their order by a few threads, so a few objects are in use at a time.
constexpr std::size_t kOpened = 4;

// Of a record that goes on in the next segment, only a reader that checks CRCs knows the CRC so
// far. The archiver does not check its own WAL.
bool SayTheSame(const SegmentSummary& one, const SegmentSummary& other) {
  const auto without_crc = [](SegmentSummary summary) {
    if (summary.head) {
      summary.head->crc.reset();
    }
    return SummaryToJson(summary).Print();
  };
  return without_crc(one) == without_crc(other);
}

// The object may be damaged where `vezactl index` alone does not look.
std::string RemedyFor(const std::string& object) {
  const std::optional<IndexName> name = ParseIndexName(object);
  return name ? fmt::format("\"vezactl index --all --from {} --to {}\" makes it anew", name->first,
                            name->last)
              : "\"vezactl index\" makes what is missing";
}

}  // namespace

Status IndexVerifier::CheckObjects(const Identity& system) {
  System& known = systems_[system.system_identifier];
  known.segment_size = system.wal_segment_size;
  // Before the WAL: objects may be added meanwhile, and only those that are known are looked at.
  Result<std::vector<IndexName>> indexes =
      ListIndexes(session_.repository(), system.system_identifier);
  if (!indexes) {
    return Judge(indexes.error(), IndexSystemPrefix(system.system_identifier));
  }
  known.indexes = std::move(*indexes);
  if (known.indexes.empty()) {
    return Ok();
  }
  RETURN_IF_ERROR(ListWal(system, known));
  for (const IndexName& index : known.indexes) {
    ++session_.progress().objects;
    RETURN_IF_ERROR(session_.Push(
        [this, &known, &index](PackReader&) -> Status { return CheckObject(known, index); }));
  }
  return Ok();
}

Status IndexVerifier::ListWal(const Identity& system, System& known) {
  return session_.repository().store().List(
      WalSystemPrefix(system.system_identifier), "", [&](const ObjectInfo& object) {
        const std::string file = object.name.substr(object.name.rfind('/') + 1);
        const auto name = ParseWalFileName(file);
        if (name && name->kind == WalFileKind::kSegment) {
          known.stored.push_back(
              {{name->timeline, SegmentNumberOf(file, known.segment_size)}, object.size});
        }
        return Ok();
      });
}

Status IndexVerifier::CheckObject(const System& system, const IndexName& index) {
  if (index.reader_version > kWalIndexVersion) {
    return Ok();  // a newer version can read it
  }
  const Result<IndexObject> object = IndexObject::Open(session_.repository(), index.name);
  if (!object) {
    return Judge(object.error(), index.name);
  }
  for (const SegmentSummary& segment : object->segments()) {
    const std::pair key(segment.timeline, segment.number);
    const auto there =
        std::ranges::lower_bound(system.stored, key, {}, [](const auto& one) { return one.first; });
    if (there != system.stored.end() && there->first == key && there->second != segment.stored) {
      Report(index.name,
             fmt::format("was made from another object of WAL segment \"{}\"",
                         SegmentName(segment.timeline, segment.number, system.segment_size)),
             RemedyFor(index.name));
      return Ok();
    }
  }
  return Ok();
}

std::vector<const IndexName*> IndexVerifier::IndexesOf(const Identity& system,
                                                       const std::string& segment) const {
  std::vector<const IndexName*> found;
  const auto known = systems_.find(system.system_identifier);
  if (known == systems_.end()) {
    return found;
  }
  const std::uint64_t size = system.wal_segment_size;
  const SegmentNumber number = SegmentNumberOf(segment, size);
  const SegmentNumber earliest = number - std::min<SegmentNumber>(number, kIndexMostSegments - 1);
  const TimelineId timeline = ParseWalFileName(segment)->timeline;
  const std::vector<IndexName>& indexes = known->second.indexes;
  auto index = std::ranges::lower_bound(
      indexes, std::pair(timeline, SegmentName(timeline, earliest, size)), {},
      [](const IndexName& one) { return std::pair(one.timeline, one.first); });
  for (; index != indexes.end() && index->timeline == timeline && index->first <= segment;
       ++index) {
    if (segment <= index->last && index->reader_version == kWalIndexVersion) {
      found.push_back(&*index);
    }
  }
  return found;
}

bool IndexVerifier::Describes(const Identity& system, const std::string& segment) const {
  return !IndexesOf(system, segment).empty();
}

Status IndexVerifier::Compare(const Identity& system, const std::string& segment,
                              const SegmentIndex& made) {
  for (const IndexName* const index : IndexesOf(system, segment)) {
    RETURN_IF_ERROR(CompareWith(*index, segment, made));
  }
  return Ok();
}

Status IndexVerifier::CompareWith(const IndexName& index, const std::string& segment,
                                  const SegmentIndex& made) {
  const Result<OpenedObject> object = Open(index.name);
  if (!object) {
    return Judge(object.error(), index.name);
  }
  const std::vector<SegmentSummary>& summaries = (*object)->segments();
  const auto found = std::ranges::find(summaries, made.summary.number, &SegmentSummary::number);
  if (found == summaries.end()) {
    return Ok();
  }
  const auto position = static_cast<std::size_t>(found - summaries.begin());
  const Result<Bytes> events = (*object)->ReadEvents(position);
  const Result<Bytes> blocks = (*object)->ReadBlocks(position);
  const Result<Bytes> transactions = (*object)->ReadTransactions(position);
  for (const Result<Bytes>* const part : {&events, &blocks, &transactions}) {
    if (!*part) {
      return Judge(part->error(), index.name);
    }
  }
  if (!SayTheSame(*found, made.summary) || *events != made.events || *blocks != made.blocks ||
      *transactions != made.transactions) {
    Report(index.name,
           fmt::format("says something else of WAL segment \"{}\" than that holds", segment),
           fmt::format("\"vezactl index --all --from {0} --to {0}\" makes it anew", segment));
  }
  return Ok();
}

Result<IndexVerifier::OpenedObject> IndexVerifier::Open(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(opened_, name, [](const auto& one) { return one.first; });
    if (found != opened_.end()) {
      return found->second;
    }
  }
  ASSIGN_OR_RETURN(IndexObject object, IndexObject::Open(session_.repository(), name));
  OpenedObject opened = std::make_shared<const IndexObject>(std::move(object));
  const std::lock_guard lock(mutex_);
  if (opened_.size() == kOpened) {
    opened_.pop_front();
  }
  opened_.emplace_back(name, opened);
  return opened;
}

// An object may be removed, with its WAL or because a better one was made, since it was listed.
Status IndexVerifier::Judge(const Error& error, const std::string& object) {
  if (error.code == ErrorCode::kNotFound) {
    return Ok();
  }
  Error with_remedy = error;
  with_remedy.message += fmt::format(". {}", RemedyFor(object));
  return session_.Judge(with_remedy, object, {});
}

void IndexVerifier::Report(const std::string& object, const std::string& what,
                           const std::string& remedy) {
  session_.findings().AddProblem(
      {object, "", fmt::format("index object \"{}\" {}. {}", object, what, remedy)});
}

}  // namespace veza
