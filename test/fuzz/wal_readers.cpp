// The readers of WAL: pages, records, and records on the border of two segments.
#include <algorithm>
#include <string>
#include <vector>

#include "core/wal/wal_reader.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

constexpr std::size_t kKept = 5000;
constexpr std::size_t kLargestPage = 65536;
constexpr std::size_t kAddressAt = 8;  // xlp_pageaddr

// What reading has shown, to compare two ways of reading the same.
struct Seen {
  std::vector<std::uint64_t> numbers;
  WalEnd end = WalEnd::kMore;
  std::string why;
  std::optional<WalHead> head;
  std::optional<WalTail> tail;
};

Status Look(const WalRecord& record, Seen& seen) {
  FUZZ_REQUIRE(record.begin < record.end && record.end.value % 8 == 0);
  FUZZ_REQUIRE(record.length >= kWalRecordHeader && record.length <= kLargestWalRecord);
  FUZZ_REQUIRE(record.blocks.size() <= kMostBlocks);
  FUZZ_REQUIRE(record.main_data.size() <= std::max(kKept, kLargestPage));
  FUZZ_REQUIRE(record.main_data.size() <= record.main_data_length);
  std::uint64_t sum = record.length + record.main_data_length;
  for (const std::uint8_t byte : record.main_data) {
    sum = 31 * sum + byte;
  }
  for (const BlockReference& block : record.blocks) {
    FUZZ_REQUIRE(block.id < kMostBlocks);
    sum = 31 * sum + block.block + block.file.relation + block.image_length;
  }
  seen.numbers.insert(seen.numbers.end(), {record.begin.value, record.end.value, sum});
  return Ok();
}

Seen Read(ByteView input, const WalReader::Options& options, std::size_t piece) {
  Seen seen;
  WalReader reader(options, [&](const WalRecord& record) { return Look(record, seen); });
  for (; !input.empty(); input = input.subspan(std::min(piece, input.size()))) {
    [[maybe_unused]] const Status fed = reader.Feed(input.first(std::min(piece, input.size())));
  }
  seen.end = reader.Finish();
  seen.why = reader.why();
  seen.head = reader.head();
  seen.tail = reader.tail();
  if (const WalRecord* const unfinished = reader.unfinished()) {
    FUZZ_REQUIRE(seen.head && unfinished->begin == seen.head->begin);
  }
  FUZZ_REQUIRE(!seen.head || seen.head->kept.size() <= std::max(kKept, kMostHeaderBytes));
  FUZZ_REQUIRE(!seen.tail || seen.tail->kept.size() <= kKept);
  return seen;
}

// Puts a head together with tails that are cut out of the input.
void Join(const WalHead& head, ByteView input) {
  Seen seen;
  std::vector<WalTail> tails;
  std::uint64_t left = head.length - std::min<std::uint64_t>(head.taken, head.length);
  while (!input.empty() && left > 0 && tails.size() < 8) {
    const std::size_t part = std::min<std::size_t>(input[0] * 64 + 1, input.size());
    WalTail tail{.length = static_cast<std::uint32_t>(left), .taken = part, .end = Lsn{~7ULL}};
    tail.taken = std::min<std::uint64_t>(part + (part % 3 == 0 ? 100 : 0), left);
    const ByteView kept = input.first(std::min<std::size_t>(part, tail.taken));
    tail.kept.assign(kept.begin(), kept.end());
    left -= tail.taken;
    tails.push_back(std::move(tail));
    input = input.subspan(part);
  }
  [[maybe_unused]] const auto joined =
      JoinBorder(head, tails, {.largest_kept = kKept},
                 [&](const WalRecord& record) { return Look(record, seen); });
}

// The first byte says how to read, and the rest is WAL from the address in its first page. The
// result must not depend on the pieces in which it arrives.
void ReadWalRecords(ByteView input) {
  if (input.size() < 1 + kAddressAt + sizeof(std::uint64_t)) {
    return;
  }
  const std::uint8_t how = input[0];
  input = input.subspan(1);
  const std::uint64_t begin = LoadLittleEndian<std::uint64_t>(input.data() + kAddressAt);
  WalReader::Options options{.begin = Lsn{begin & 0x0FFF'FFFF'FFFF'FFFF},
                             .check_crc = (how & 1) != 0,
                             .largest_kept = kKept};
  if ((how & 2) != 0) {
    options.managers = 3;
  }
  const Seen whole = Read(input, options, input.size());
  const Seen pieces = Read(input, options, 1 + how * 5);
  FUZZ_REQUIRE(whole.numbers == pieces.numbers && whole.end == pieces.end);
  FUZZ_REQUIRE(whole.why == pieces.why);
  if (whole.head) {
    Join(*whole.head, input.subspan(input.size() / 2));
  }
  // A head that somebody made up.
  WalHead head{.begin = options.begin, .length = how * 16U, .taken = how};
  head.kept.assign(input.begin(), input.begin() + std::min<std::ptrdiff_t>(how, 16));
  Join(head, input);
  head.length = LoadLittleEndian<std::uint32_t>(input.data());
  Join(head, input);
}

}  // namespace

std::vector<Reader> WalReaders() {
  return {{"wal_records", ReadWalRecords}};
}

}  // namespace veza::fuzz
