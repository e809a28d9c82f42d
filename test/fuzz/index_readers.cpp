// The readers of indexes of WAL, and the one that makes them.
#include <algorithm>
#include <string>
#include <vector>

#include "core/wal_index/index_object.h"
#include "core/wal_index/segment_index.h"
#include "core/wal_index/summary_json.h"
#include "fuzz/memory_store.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

constexpr std::uint64_t kSystem = 7711348379840072545U;
constexpr std::uint64_t kSegment = 1U << 20;
const SealPolicy kPolicy{Cipher::kNone, nullptr};
const std::string kName =
    "walindex/7711348379840072545/00000001/000000010000000000000010-000000010000000000000011-1-"
    "0123456789abcdef";

class ZeroRandom final : public Random {
 public:
  void Fill(MutableByteView bytes) override { std::ranges::fill(bytes, std::uint8_t{0}); }
};

void ReadParts(ByteView blocks, ByteView transactions, ByteView events,
               const SegmentSummary& summary, bool must_be_right) {
  std::uint64_t runs = 0;
  const Status read = ReadIndexedBlocks(
      blocks, [&](const RelationFork& fork, std::uint32_t first, std::uint32_t count) {
        FUZZ_REQUIRE(fork.fork <= kInitFork && count > 0);
        FUZZ_REQUIRE(std::uint64_t{first} + count <= 0xFFFF'FFFF);
        ++runs;
        return Ok();
      });
  FUZZ_REQUIRE(runs <= blocks.size());
  const auto ended = ReadIndexedTransactions(transactions, summary);
  if (ended) {
    FUZZ_REQUIRE(ended->touches.size() <= summary.segment_size / 20);
    FUZZ_REQUIRE(ended->ends.size() <= summary.segment_size / kWalRecordHeader);
  }
  const auto happened = ReadIndexedEvents(events);
  FUZZ_REQUIRE(!must_be_right || (read && ended && happened));
}

// The first line is the directory. Frames follow: two bytes for each have its length times two, and
// one more if it is stored uncompressed. The whole input also is each part.
void ReadIndex(ByteView input) {
  SegmentSummary summary;
  summary.timeline = 1;
  summary.number = 16;
  summary.segment_size = kSegment;
  ReadParts(input, input, input, summary, false);

  ZeroRandom random;
  const ObjectSealer sealer(kPolicy, ObjectKind::kPack, kName, random);
  Bytes object = sealer.Head({.node = "fuzz"}).value();
  std::uint64_t number = 0;
  const auto append = [&](std::uint32_t flags, ByteView plain) {
    const std::size_t at = object.size();
    object.resize(at + sealer.FrameSize(plain.size()));
    FUZZ_REQUIRE(sealer.Seal(number++, flags, plain, MutableByteView(object).subspan(at)));
  };
  const std::string_view text = AsText(input);
  const std::size_t line = std::min(text.find('\n'), std::min(text.size(), kPackFramePlain));
  append(kFrameStored, input.first(line));
  for (std::size_t at = line + 1; at + 2 <= input.size();) {
    const std::size_t word = input[at] | std::size_t{input[at + 1]} << 8;
    at += 2;
    const std::size_t length = std::min(word / 2, input.size() - at);
    append((word & 1) != 0 ? kFrameStored : 0, input.subspan(at, length));
    at += length;
  }
  append(kFrameLast, {});
  TheRepository().store->Set(kName, std::move(object));

  const auto index = IndexObject::Open(*TheRepository().repository, kName);
  if (!index) {
    return;
  }
  for (std::size_t i = 0; i < index->segments().size(); ++i) {
    const auto blocks = index->ReadBlocks(i);
    const auto transactions = index->ReadTransactions(i);
    const auto events = index->ReadEvents(i);
    if (blocks && transactions && events) {
      ReadParts(*blocks, *transactions, *events, index->segments()[i], false);
    }
    const std::string printed = SummaryToJson(index->segments()[i]).Print();
    SegmentSummary again = summary;
    again.segment_size = index->segments()[i].segment_size;
    FUZZ_REQUIRE(SummaryFromJson(ParseJson(printed).value(), kName, again));
    FUZZ_REQUIRE(SummaryToJson(again).Print() == printed);
  }
}

SegmentIndex MakeIndex(ByteView input, SegmentNumber number, bool check_crc, std::size_t piece) {
  SegmentIndexer indexer;
  indexer.Begin({.timeline = 1,
                 .number = number,
                 .segment_size = kSegment,
                 .system_identifier = kSystem,
                 .check_crc = check_crc});
  for (; !input.empty(); input = input.subspan(std::min(piece, input.size()))) {
    indexer.Feed(input.first(std::min(piece, input.size())));
  }
  return indexer.Finish();
}

// Makes the index of a segment, whose address is in its first page. A byte precedes it: bit 0
// checks CRCs. What was made must be right, and must not depend on the pieces.
void IndexSegment(ByteView input) {
  constexpr std::size_t kAddressAt = 8;
  constexpr std::size_t kSystemAt = 24;
  if (input.size() < 1 + kSystemAt + sizeof kSystem) {
    return;
  }
  const std::uint8_t how = input[0];
  Bytes segment(input.begin() + 1, input.end());
  StoreLittleEndian(segment.data() + kSystemAt, kSystem);
  const std::uint64_t number =
      LoadLittleEndian<std::uint64_t>(segment.data() + kAddressAt) / kSegment % (1U << 30);
  const SegmentIndex whole = MakeIndex(segment, number, (how & 1) != 0, segment.size());
  const SegmentIndex pieces = MakeIndex(segment, number, (how & 1) != 0, 1 + how * 5U);
  FUZZ_REQUIRE(whole.blocks == pieces.blocks && whole.transactions == pieces.transactions &&
               whole.events == pieces.events);
  const std::string printed = SummaryToJson(whole.summary).Print();
  FUZZ_REQUIRE(printed == SummaryToJson(pieces.summary).Print());
  SegmentSummary again = whole.summary;
  again.minutes.clear();
  FUZZ_REQUIRE(SummaryFromJson(ParseJson(printed).value(), kName, again));
  ReadParts(whole.blocks, whole.transactions, whole.events, whole.summary, true);
}

}  // namespace

std::vector<Reader> IndexReaders() {
  return {{"wal_index", ReadIndex}, {"wal_segment", IndexSegment}};
}

}  // namespace veza::fuzz
