// Reads sealed objects, manifests, packs and WAL. Without encryption anybody can make frames with
// the right digests. So the input is the content of the frames.
#include <algorithm>

#include "core/codec/frame_reader.h"
#include "core/codec/json.h"
#include "core/codec/stream.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/manifest.h"
#include "core/repository/manifest_records.h"
#include "core/repository/names.h"
#include "core/repository/pack_reader.h"
#include "core/restore/control_file.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_scan.h"
#include "fuzz/memory_store.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

constexpr const char* kLabel = "20261122-020000F";
constexpr std::uint64_t kSystem = 7711348379840072545U;
constexpr std::uint64_t kLargest = 1U << 20;
const SealPolicy kPolicy{Cipher::kNone, nullptr};

// Returns the same bytes in every run, so that a finding can be reproduced.
class CountingRandom final : public Random {
 public:
  void Fill(MutableByteView bytes) override {
    for (std::uint8_t& byte : bytes) {
      byte = next_++;
    }
  }

 private:
  std::uint8_t next_ = 0;
};

void Append(Bytes& object, ByteView bytes) {
  object.insert(object.end(), bytes.begin(), bytes.end());
}

void AppendFrame(Bytes& object, const ObjectSealer& sealer, std::uint64_t number,
                 std::uint32_t flags, ByteView plain) {
  Bytes frame(sealer.FrameSize(plain.size()));
  FUZZ_REQUIRE(sealer.Seal(number, flags, plain, frame));
  Append(object, frame);
}

// Seals arbitrary bytes into frames.
Bytes SealContent(ByteView content, const std::string& name) {
  CountingRandom random;
  const ObjectSealer sealer(kPolicy, ObjectKind::kStream, name, random);
  Bytes object = sealer.Head({.node = "fuzz"}).value();
  std::uint64_t number = 0;
  for (; content.size() > kStreamFramePlain; content = content.subspan(kStreamFramePlain)) {
    AppendFrame(object, sealer, number++, 0, content.first(kStreamFramePlain));
  }
  AppendFrame(object, sealer, number, kFrameLast, content);
  return object;
}

std::optional<Bytes> OpenInPieces(ByteView object, const std::string& name, std::size_t piece) {
  Bytes content;
  StreamOpener opener(
      kPolicy, name,
      [&](ByteView plain) {
        Append(content, plain);
        return Ok();
      },
      kLargest);
  for (; !object.empty(); object = object.subspan(std::min(piece, object.size()))) {
    if (!opener.Feed(object.first(std::min(piece, object.size())))) {
      return std::nullopt;
    }
  }
  if (!opener.Finish()) {
    return std::nullopt;
  }
  FUZZ_REQUIRE(content.size() <= kLargest);
  return content;
}

// Reads the input as an object, and as the compressed content of an object. The result must not
// depend on the pieces in which it arrives.
void ReadObject(ByteView input) {
  const std::string name = "wal/x";
  for (const Bytes& object : {Bytes(input.begin(), input.end()), SealContent(input, name)}) {
    const std::optional<Bytes> whole = OpenInPieces(object, name, object.size() + 1);
    FUZZ_REQUIRE(OpenInPieces(object, name, 7) == whole);
  }
  for (const ObjectKind kind : {ObjectKind::kStream, ObjectKind::kPack}) {
    FrameReader reader(kPolicy, kind, name);
    Bytes plain;
    const Status fed = reader.Feed(input,
                                   [&](std::uint64_t number, std::uint64_t,
                                       const ObjectOpener& opener, ByteView frame) -> Status {
                                     ASSIGN_OR_RETURN([[maybe_unused]] const std::uint32_t flags,
                                                      opener.Open(number, frame, plain));
                                     return Ok();
                                   });
    [[maybe_unused]] const bool whole = fed && reader.Finish();
  }
}

// Reads the first line as a record, and the whole input as a manifest.
void ReadManifestText(ByteView input) {
  BackupSummary summary;
  summary.label = kLabel;
  summary.block_size = 8192;
  const Repository& repository = *TheRepository().repository;
  const std::string name = ManifestName(kLabel);
  for (const BackupType type : {BackupType::kFull, BackupType::kDiff, BackupType::kIncr}) {
    summary.type = type;
    summary.sources.resize(static_cast<std::size_t>(type));  // none, one, two
    const std::optional<Json> line = ParseJsonObject(AsText(input));
    const auto kind = line ? StringMember(*line, "type") : std::nullopt;
    const auto record = kind ? ParseRecord(*line, *kind, summary, name)
                             : Result<ManifestRecord>(MakeError(ErrorCode::kInvalidArgument, ""));
    if (record) {
      const std::string text = SerializeRecord(*record, type);
      const auto again = ParseRecord(ParseJson(text).value(), *kind, summary, name);
      FUZZ_REQUIRE(again && SerializeRecord(*again, type) == text);
    }
    StreamSealer sealer(kPolicy, {name, 1, "/tmp", 64U << 20}, SystemRandom());
    FUZZ_REQUIRE(sealer.Append(input));
    const SealedStream sealed = sealer.Finish("fuzz", TimePoint()).value();
    FUZZ_REQUIRE(TheRepository().store->Put(name, *sealed.body, PutMode::kReplace));
    summary.manifest_size = sealed.body->size();
    [[maybe_unused]] const Status read =
        ReadManifest(repository, summary, [](ManifestRecord&& taken) {
          if (const auto* const file = std::get_if<FileRecord>(&taken)) {
            FUZZ_REQUIRE(!file->path.starts_with('/') &&
                         file->path.find("//") == std::string::npos);
          }
          return Ok();
        });
  }
}

// The first line is the record of a file, the second that of its pack; the rest is cut into frames.
void ReadPack(ByteView input) {
  const std::string_view text = AsText(input);
  const std::size_t first = std::min(text.find('\n'), text.size());
  const std::size_t second = std::min(text.find('\n', first + 1), text.size());
  BackupSummary summary;
  const auto parse = [&](std::string_view line, const char* kind) {
    return ParseRecord(ParseJson(line).value_or(Json()), kind, summary, "manifest");
  };
  const auto file = parse(text.substr(0, first), "file");
  auto pack = second > first ? parse(text.substr(first + 1, second - first - 1), "pack") : file;
  if (!file || !pack || !std::holds_alternative<PackRecord>(*pack)) {
    return;
  }
  const std::string name = PackName(kLabel, 1);
  CountingRandom random;
  const ObjectSealer sealer(kPolicy, ObjectKind::kPack, name, random);
  Bytes object = sealer.Head({.node = "fuzz"}).value();
  std::uint64_t number = 0;
  for (std::size_t at = second + 1; at < input.size(); ++number) {
    const std::size_t length =
        std::min<std::size_t>(input[at] * 16, std::min(kPackFramePlain, input.size() - at - 1));
    AppendFrame(object, sealer, number, (input[at] & 1) != 0 ? kFrameStored : 0,
                input.subspan(at + 1, length));
    at += 1 + length;
  }
  AppendFrame(object, sealer, number, kFrameLast, {});
  TheRepository().store->Set(name, std::move(object));

  PackRecord record = std::get<PackRecord>(*pack);
  record.header = sealer.header();
  std::vector<Extent> extents;
  std::ranges::copy_if(std::get<FileRecord>(*file).extents, std::back_inserter(extents),
                       [](const Extent& extent) { return extent.pack != 0; });
  if (extents.empty()) {
    return;
  }
  std::ranges::stable_sort(extents, {}, &Extent::frame);
  PackReader reader(*TheRepository().repository, [](std::uint64_t) {});
  [[maybe_unused]] const Status read =
      reader.Read(name, record, extents, [&](std::size_t index, ByteView plain) {
        FUZZ_REQUIRE(plain.size() == extents[index].length);
        FUZZ_REQUIRE(DigestExtent(plain, record.digest, kPolicy.key.get()) ==
                     extents[index].digest);
        return Ok();
      });
}

std::vector<WalEvent> Scan(ByteView segment, std::size_t piece) {
  std::vector<WalEvent> events;
  WalScanner scanner(Lsn{1U << 20}, [&](const WalEvent& event) { events.push_back(event); });
  for (; !segment.empty(); segment = segment.subspan(std::min(piece, segment.size()))) {
    scanner.Feed(segment.first(std::min(piece, segment.size())));
  }
  scanner.Finish();
  return events;
}

// Reads a WAL segment. The result must not depend on the pieces in which it arrives.
void ReadWal(ByteView input) {
  const std::vector<WalEvent> whole = Scan(input, input.size() + 1);
  FUZZ_REQUIRE(std::ranges::equal(Scan(input, 13), whole, [](const auto& a, const auto& b) {
    return a.kind == b.kind && a.lsn == b.lsn && a.time == b.time;
  }));
  [[maybe_unused]] const FirstPage page = JudgeFirstPage(input, Lsn{1U << 20}, kSystem, 1U << 20);
}

// Reads what a record says: a version, a resource manager, the info byte, whether it names a block,
// how much was cut off of its data, and the data.
void ReadFacts(ByteView input) {
  constexpr std::size_t kHead = 5;
  if (input.size() < kHead) {
    return;
  }
  static const BlockReference kBlock;
  WalRecord record;
  record.manager = input[1];
  record.info = input[2];
  record.blocks = {&kBlock, input[3] % 2U};
  record.main_data = input.subspan(kHead);
  record.main_data_length = static_cast<std::uint32_t>(record.main_data.size() + input[4]);
  const WalFact fact = ReadWalFact(record, input[0]);
  if (const auto* end = std::get_if<TransactionEnd>(&fact)) {
    FUZZ_REQUIRE(end->dropped.size() * sizeof(RelationFile) <= input.size());
    FUZZ_REQUIRE(end->subtransactions.size() * sizeof(std::uint32_t) <= input.size());
  }
  if (input[4] != 0) {
    // They need all of the record's data.
    FUZZ_REQUIRE(!std::holds_alternative<RelationCreated>(fact) &&
                 !std::holds_alternative<DatabaseDropped>(fact) &&
                 !std::holds_alternative<CheckpointMade>(fact));
  }
}

void ReadHistory(ByteView input) {
  const Result<TimelineHistory> history = ParseTimelineHistory(1000, AsText(input));
  if (!history) {
    return;
  }
  TimelineId last = 0;
  for (const TimelineSwitch& ancestor : history->ancestors) {
    FUZZ_REQUIRE(ancestor.timeline > last && ancestor.timeline < 1000);
    last = ancestor.timeline;
    FUZZ_REQUIRE(history->Contains(ancestor.timeline, ancestor.switch_point));
    FUZZ_REQUIRE(ForkOf(*history, ancestor.timeline));
  }
}

}  // namespace

std::vector<Reader> ObjectReaders() {
  return {{"object", ReadObject}, {"manifest", ReadManifestText}, {"pack", ReadPack},
          {"wal", ReadWal},       {"wal_facts", ReadFacts},       {"history", ReadHistory}};
}

}  // namespace veza::fuzz
