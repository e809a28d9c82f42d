#include "core/wal_index/index_object.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/codec/json_fields.h"
#include "core/codec/zstd.h"
#include "core/limits.h"
#include "core/repository/entrance.h"
#include "core/repository/names.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/summary_json.h"

namespace veza {
namespace {

constexpr std::uint64_t kDirectoryVersion = 1;
// What the first read takes: the directory of most objects, and in small ones everything.
constexpr std::uint64_t kFirstRead = 128U << 10;
constexpr const char* kPartNames[] = {"events", "blocks", "transactions"};
constexpr std::size_t kParts = std::size(kPartNames);
// Most of an index is small numbers, for which higher levels do little.
constexpr int kLevel = 1;

std::array<Bytes SegmentIndex::*, kParts> PartsOf() {
  return {&SegmentIndex::events, &SegmentIndex::blocks, &SegmentIndex::transactions};
}

// At least as long as SummaryToJson() makes it, with its parts.
std::size_t LongestSummary(const SegmentSummary& summary) {
  std::size_t length = 2048 + 128 * summary.minutes.size();
  length += summary.head ? 2 * summary.head->kept.size() : 0;
  length += summary.tail ? 2 * summary.tail->kept.size() : 0;
  length += summary.doubt ? 6 * summary.doubt->reason.size() : 0;
  return length;
}

struct Frame {
  Bytes bytes;
  bool stored = false;  // not compressed
};

}  // namespace

class IndexObjectWriter::State {
 public:
  State(const Repository& repository, std::uint64_t system_identifier)
      : repository_(repository), system_identifier_(system_identifier), compressor_(kLevel) {}

  bool Fits(const SegmentIndex& index) const {
    if (count_ == 0) {
      return true;
    }
    const SegmentSummary& summary = index.summary;
    return !full() && summary.timeline == last_.timeline && summary.number == last_.number + 1 &&
           summary.segment_size == last_.size && plain_ + SizeOf(index) <= kIndexMostBytes &&
           directory_ + LongestSummary(summary) <= kIndexMostDirectory;
  }

  void Add(SegmentIndex&& index) {
    Json json = SummaryToJson(index.summary);
    Json parts = Json::Object();
    for (std::size_t part = 0; part < kParts; ++part) {
      Bytes& bytes = index.*PartsOf()[part];
      if (!bytes.empty()) {
        parts[kPartNames[part]] = AddPart(bytes);
      }
      bytes = {};
    }
    json["parts"] = std::move(parts);
    segments_.push_back(std::move(json));
    directory_ += LongestSummary(index.summary);
    last_ = {index.summary.timeline, index.summary.number, index.summary.segment_size};
    if (count_++ == 0) {
      first_ = last_.name();
    }
  }

  bool empty() const { return count_ == 0; }
  bool full() const { return count_ >= kIndexMostSegments || plain_ >= kIndexMostBytes; }
  std::size_t memory() const { return stored_ + 4 * directory_; }

  Result<std::string> Store() {
    Result<std::string> name = PutBesideKey();
    count_ = 0;
    plain_ = 0;
    stored_ = 0;
    directory_ = 0;
    frames_.clear();
    segments_ = Json::Array();
    return name;
  }

 private:
  struct Segment {
    TimelineId timeline = 0;
    SegmentNumber number = 0;
    std::uint64_t size = 0;
    std::string name() const { return SegmentName(timeline, number, size); }
  };

  static std::size_t SizeOf(const SegmentIndex& index) {
    return index.events.size() + index.blocks.size() + index.transactions.size();
  }

  Frame Compress(ByteView plain) {
    Frame frame;
    if (const Status compressed = compressor_.Compress(plain, frame.bytes);
        !compressed || frame.bytes.size() >= plain.size()) {
      frame.bytes.assign(plain.begin(), plain.end());
      frame.stored = true;
    }
    return frame;
  }

  // Returns what the directory says of it.
  Json AddPart(ByteView part) {
    Json stored = Json::Array();
    Json json = {{"frame", frames_.size() + 1}, {"size", part.size()}};
    plain_ += part.size();
    while (!part.empty()) {
      const std::size_t length = std::min(part.size(), kPackFramePlain);
      frames_.push_back(Compress(part.first(length)));
      const Bytes& bytes = frames_.back().bytes;
      frames_.back().bytes.shrink_to_fit();
      stored_ += bytes.size();
      stored.push_back(SealedFrameSize(repository_.seal_policy().cipher, bytes.size()));
      part = part.subspan(length);
    }
    json["stored"] = std::move(stored);
    return json;
  }

  std::string Directory() {
    const Json json = {{"version", kDirectoryVersion},
                       {"reader", kWalIndexVersion},
                       {"system", std::to_string(system_identifier_)},
                       {"timeline", last_.timeline},
                       {"segment_size", last_.size},
                       {"segments", std::move(segments_)}};
    return json.Print();
  }

  // In a place without identity and key nothing may be left behind: it would pass for a repository
  // that has lost them.
  Result<std::string> PutBesideKey() {
    RETURN_IF_ERROR(RequireKeyInPlace(repository_, system_identifier_));
    ASSIGN_OR_RETURN(const std::string name, Put());
    Status kept = RequireKeyInPlace(repository_, system_identifier_);
    if (!kept) {
      [[maybe_unused]] const Status removed = repository_.store().Delete(name);
      return tl::unexpected(kept.error());
    }
    return name;
  }

  Result<std::string> Put() {
    if (count_ == 0) {
      return MakeError(ErrorCode::kInternal, "an index of no segment was to be stored");
    }
    const std::string directory = Directory();
    if (directory.size() > kPackFramePlain) {
      return MakeError(ErrorCode::kInternal, "the directory of the index from {} is too large",
                       first_);
    }
    std::array<std::uint8_t, 8> id{};
    repository_.environment().random->Fill(id);
    const std::string name =
        IndexObjectName(system_identifier_, first_, last_.name(), kWalIndexVersion, ToHex(id));
    ASSIGN_OR_RETURN(const Bytes object, Seal(name, Compress(AsBytes(directory))));
    const Status put = PutSmall(repository_.store(), name, object, PutMode::kCreate);
    // Nobody else makes this name. A request whose answer was lost was repeated.
    if (!put && put.error().code != ErrorCode::kAlreadyExists) {
      return put.error();
    }
    return name;
  }

  Result<Bytes> Seal(const std::string& name, Frame directory) {
    const ObjectSealer sealer(repository_.seal_policy(), ObjectKind::kPack, name,
                              *repository_.environment().random);
    ASSIGN_OR_RETURN(Bytes object,
                     sealer.Head({.node = repository_.options().node,
                                  .created = repository_.environment().clock->Now()}));
    std::uint64_t number = 0;
    const auto append = [&](ByteView plain, std::uint32_t flags) -> Status {
      const std::size_t at = object.size();
      object.resize(at + sealer.FrameSize(plain.size()));
      return sealer.Seal(number++, flags, plain, MutableByteView(object).subspan(at));
    };
    RETURN_IF_ERROR(append(directory.bytes, directory.stored ? kFrameStored : 0));
    for (const Frame& frame : frames_) {
      RETURN_IF_ERROR(append(frame.bytes, frame.stored ? kFrameStored : 0));
    }
    RETURN_IF_ERROR(append({}, kFrameLast));
    return object;
  }

  const Repository& repository_;
  const std::uint64_t system_identifier_;
  Compressor compressor_;
  std::size_t count_ = 0;
  std::string first_;
  Segment last_;
  std::vector<Frame> frames_;
  Json segments_ = Json::Array();
  std::size_t plain_ = 0;      // of all parts
  std::size_t stored_ = 0;     // the same, compressed
  std::size_t directory_ = 0;  // at most
};

IndexObjectWriter::IndexObjectWriter(const Repository& repository, std::uint64_t system_identifier)
    : state_(std::make_unique<State>(repository, system_identifier)) {}
IndexObjectWriter::~IndexObjectWriter() = default;
IndexObjectWriter::IndexObjectWriter(IndexObjectWriter&&) noexcept = default;
IndexObjectWriter& IndexObjectWriter::operator=(IndexObjectWriter&&) noexcept = default;

bool IndexObjectWriter::Fits(const SegmentIndex& index) const {
  return state_->Fits(index);
}
void IndexObjectWriter::Add(SegmentIndex index) {
  state_->Add(std::move(index));
}
bool IndexObjectWriter::empty() const {
  return state_->empty();
}
bool IndexObjectWriter::full() const {
  return state_->full();
}
std::size_t IndexObjectWriter::memory() const {
  return state_->memory();
}
Result<std::string> IndexObjectWriter::Store() {
  return state_->Store();
}

// Reading -------------------------------------------------------------------------------------

namespace {

// Where a part of a segment lies.
struct Part {
  std::uint64_t frame = 0;            // the first one; 0: there is no such part
  std::uint64_t offset = 0;           // in the object
  std::vector<std::uint32_t> stored;  // sizes of the frames
  std::size_t size = 0;
};

Error Damaged(const std::string& name, std::string_view what) {
  return MakeError(ErrorCode::kDataCorrupted, "the index \"{}\" is damaged: {}", name, what)
      .WithHint("Delete it, and make it again with vezactl index.");
}

// Returns `plain` bytes, which a frame holds.
Status OpenFrame(const ObjectOpener& opener, std::uint64_t number, ByteView frame,
                 std::size_t plain, Bytes& into) {
  Bytes opened;
  ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(number, frame, opened));
  if ((flags & kFrameLast) != 0) {
    return Damaged(opener.object_name(), "it ends before its last part");
  }
  if ((flags & kFrameStored) != 0) {
    if (opened.size() != plain) {
      return Damaged(opener.object_name(), "a part of it has another size");
    }
    into.insert(into.end(), opened.begin(), opened.end());
    return Ok();
  }
  const std::size_t before = into.size();
  into.resize(before + plain);
  if (!Decompressor().Decompress(opened, MutableByteView(into).subspan(before))) {
    return Damaged(opener.object_name(), "a part of it does not decompress to its size");
  }
  return Ok();
}

}  // namespace

class IndexObject::State {
 public:
  State(const Repository& repository, IndexName name)
      : repository_(repository), name_(std::move(name)) {}

  Status Open() {
    RETURN_IF_ERROR(Fetch(0, kFirstRead, bytes_));
    if (bytes_.size() < kObjectHeaderSize) {
      return Damaged(name(), "it is too short");
    }
    ASSIGN_OR_RETURN(opener_,
                     ObjectOpener::Create(repository_.seal_policy(), ObjectKind::kPack, name(),
                                          ByteView(bytes_).first(kObjectHeaderSize)));
    ASSIGN_OR_RETURN(const ByteView attributes, TakeFrame(kObjectHeaderSize, kAttributesFrame));
    parts_begin_ = kObjectHeaderSize + attributes.size();
    RETURN_IF_ERROR(opener_->OpenAttributes(attributes));
    ASSIGN_OR_RETURN(const ByteView directory, TakeFrame(parts_begin_, 0));
    parts_begin_ += directory.size();
    ASSIGN_OR_RETURN(const std::string text, OpenDirectory(directory));
    bytes_ = {};
    return ParseDirectory(text);
  }

  const std::string& name() const { return name_.name; }
  const std::vector<SegmentSummary>& segments() const { return segments_; }

  Result<Bytes> Read(std::size_t index, std::size_t which) const {
    const Part& part = parts_[index][which];
    Bytes plain;
    if (part.frame == 0) {
      return plain;
    }
    std::uint64_t stored = 0;
    for (const std::uint32_t size : part.stored) {
      stored += size;
    }
    Bytes frames;
    frames.reserve(stored);
    RETURN_IF_ERROR(Fetch(part.offset, stored, frames));
    if (frames.size() != stored) {
      return Damaged(name(), "it is cut off");
    }
    plain.reserve(part.size);
    ByteView left = frames;
    for (std::size_t i = 0; i < part.stored.size(); ++i) {
      const ByteView frame = left.first(part.stored[i]);
      ASSIGN_OR_RETURN(const std::size_t size, opener_->FrameSize(part.frame + i, frame));
      if (size != frame.size()) {
        return Damaged(name(), "a part of it has another size");
      }
      RETURN_IF_ERROR(OpenFrame(*opener_, part.frame + i, frame,
                                std::min(part.size - plain.size(), kPackFramePlain), plain));
      left = left.subspan(frame.size());
    }
    return plain;
  }

 private:
  // Appends a range of the object, or what there is of it.
  Status Fetch(std::uint64_t offset, std::uint64_t length, Bytes& bytes) const {
    const std::size_t most = bytes.size() + length;
    Status got = repository_.store().Get(name(), {offset, length}, [&](ByteView piece) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
      return bytes.size() > most ? Status(Damaged(name(), "the store sends too much")) : Ok();
    });
    // The object ends before the range.
    if (!got && got.error().code == ErrorCode::kInvalidArgument) {
      return Damaged(name(), "it is cut off");
    }
    return got;
  }

  // A frame at the beginning of the object. What is not there yet is fetched.
  Result<ByteView> TakeFrame(std::size_t at, std::uint64_t number) {
    if (bytes_.size() < at + kFrameWordSize) {
      return Damaged(name(), "it is too short");
    }
    ASSIGN_OR_RETURN(const std::size_t size,
                     opener_->FrameSize(number, ByteView(bytes_).subspan(at, kFrameWordSize)));
    if (bytes_.size() < at + size && bytes_.size() == kFirstRead) {
      RETURN_IF_ERROR(Fetch(kFirstRead, at + size - kFirstRead, bytes_));
    }
    if (bytes_.size() < at + size) {
      return Damaged(name(), "it is too short");
    }
    return ByteView(bytes_).subspan(at, size);
  }

  // The directory does not say its own size: zstd's frame does.
  Result<std::string> OpenDirectory(ByteView frame) {
    Bytes opened;
    ASSIGN_OR_RETURN(const std::uint32_t flags, opener_->Open(0, frame, opened));
    if ((flags & kFrameLast) != 0) {
      return Damaged(name(), "it has no directory");
    }
    if ((flags & kFrameStored) != 0) {
      return std::string(AsText(opened));
    }
    Bytes plain;
    if (!Decompressor().DecompressAtMost(opened, kIndexMostDirectory, plain)) {
      return Damaged(name(), "its directory does not decompress");
    }
    return std::string(AsText(plain));
  }

  Status ParseDirectory(const std::string& text) {
    const std::optional<Json> json = ParseJsonObject(text);
    if (!json) {
      return Damaged(name(), "its directory is not JSON");
    }
    const std::string& where = name();
    JsonFields fields(*json, where);
    std::uint64_t version = 0;
    std::uint32_t reader = 0;
    std::string system;
    TimelineId timeline = 0;
    std::uint64_t segment_size = 0;
    fields.Read("version", version);
    RETURN_IF_ERROR(fields.status());
    if (version != kDirectoryVersion) {
      return MakeError(ErrorCode::kUnsupported,
                       "the index \"{}\" has format {}, which is not known", name(), version)
          .WithHint("Update veza_backup.");
    }
    fields.Read("reader", reader);
    fields.Read("system", system);
    fields.Read("timeline", timeline);
    fields.Read("segment_size", segment_size);
    RETURN_IF_ERROR(fields.status());
    if (reader > kWalIndexVersion) {
      return MakeError(ErrorCode::kUnsupported,
                       "the index \"{}\" was made by a newer version of veza_backup", name())
          .WithHint("Update veza_backup.");
    }
    if (reader != name_.reader_version || system != std::to_string(name_.system_identifier) ||
        timeline != name_.timeline || !IsWalSegmentSize(segment_size)) {
      return Damaged(name(), "its directory is of another name");
    }
    const Json* const segments = json->Find("segments");
    if (segments == nullptr || !segments->is_array() || segments->empty() ||
        segments->size() > kIndexMostSegments) {
      return Damaged(name(), "it has no list of segments of an allowed length");
    }
    SegmentSummary empty;
    empty.timeline = timeline;
    empty.segment_size = segment_size;
    for (const Json& segment : *segments) {
      RETURN_IF_ERROR(ParseSegment(segment, empty));
    }
    const auto segment_name = [](const SegmentSummary& summary) {
      return SegmentName(summary.timeline, summary.number, summary.segment_size);
    };
    if (segment_name(segments_.front()) != name_.first ||
        segment_name(segments_.back()) != name_.last) {
      return Damaged(name(), "its segments are not those of its name");
    }
    return Ok();
  }

  Status ParseSegment(const Json& json, const SegmentSummary& empty) {
    SegmentSummary summary = empty;
    RETURN_IF_ERROR(SummaryFromJson(json, name(), summary));
    if (!segments_.empty() && summary.number != segments_.back().number + 1) {
      return Damaged(name(), "its segments do not follow each other");
    }
    if (summary.digest.method == DigestMethod::kGmac && repository_.seal_policy().key == nullptr) {
      return Damaged(name(), "it has keyed digests, although it is not encrypted");
    }
    const Json* const parts = json.Find("parts");
    if (parts == nullptr) {
      return Damaged(name(), "it does not say where its parts are");
    }
    std::array<Part, kParts> places;
    for (std::size_t i = 0; i < kParts; ++i) {
      if (const Json* const part = parts->Find(kPartNames[i])) {
        RETURN_IF_ERROR(ParsePart(*part, places[i]));
      }
    }
    segments_.push_back(std::move(summary));
    parts_.push_back(std::move(places));
    return Ok();
  }

  // The parts follow each other without a gap.
  Status ParsePart(const Json& json, Part& part) {
    JsonFields fields(json, name());
    fields.Read("frame", part.frame);
    fields.Read("size", part.size);
    RETURN_IF_ERROR(fields.status());
    const Json* const stored = json.Find("stored");
    if (part.size == 0 || part.size > kIndexMostEncoded || part.frame != next_frame_ ||
        stored == nullptr || !stored->is_array() ||
        stored->size() != (part.size + kPackFramePlain - 1) / kPackFramePlain) {
      return Damaged(name(), "the place of a part is wrong");
    }
    part.offset = parts_begin_;
    for (const Json& size : *stored) {
      const std::uint64_t bytes = size.AsUnsigned().value_or(0);
      if (bytes <= kFrameWordSize || bytes > SealedFrameSize(Cipher::kAes256Cbc, kPackFramePlain)) {
        return Damaged(name(), "a part has an impossible size");
      }
      part.stored.push_back(static_cast<std::uint32_t>(bytes));
      parts_begin_ += bytes;
    }
    next_frame_ += part.stored.size();
    return Ok();
  }

  const Repository& repository_;
  const IndexName name_;
  Bytes bytes_;  // the beginning of the object, while it is opened
  std::optional<ObjectOpener> opener_;
  std::uint64_t parts_begin_ = 0;  // of the next part while the directory is read
  std::uint64_t next_frame_ = 1;
  std::vector<SegmentSummary> segments_;
  std::vector<std::array<Part, kParts>> parts_;
};

IndexObject::IndexObject() = default;
IndexObject::~IndexObject() = default;
IndexObject::IndexObject(IndexObject&&) noexcept = default;
IndexObject& IndexObject::operator=(IndexObject&&) noexcept = default;

Result<IndexObject> IndexObject::Open(const Repository& repository, const std::string& name) {
  std::optional<IndexName> parsed = ParseIndexName(name);
  if (!parsed) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of an index of WAL",
                     name);
  }
  IndexObject object;
  object.state_ = std::make_unique<State>(repository, std::move(*parsed));
  RETURN_IF_ERROR(object.state_->Open());
  return object;
}

const std::string& IndexObject::name() const {
  return state_->name();
}
const std::vector<SegmentSummary>& IndexObject::segments() const {
  return state_->segments();
}
Result<Bytes> IndexObject::ReadEvents(std::size_t index) const {
  return state_->Read(index, 0);
}
Result<Bytes> IndexObject::ReadBlocks(std::size_t index) const {
  return state_->Read(index, 1);
}
Result<Bytes> IndexObject::ReadTransactions(std::size_t index) const {
  return state_->Read(index, 2);
}

}  // namespace veza
