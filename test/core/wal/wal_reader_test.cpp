#include "core/wal/wal_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <numeric>
#include <random>

#include "core/memory_gauge.h"
#include "core/wal/wal_writer.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kSegment = std::uint64_t{1} << 20;
constexpr std::size_t kKept = std::size_t{4} << 20;

struct Seen {
  std::vector<std::string> records;
  std::vector<Lsn> begins;
  WalEnd end = WalEnd::kMore;
  std::string why;
  Lsn end_lsn;
  std::optional<WalTail> tail;
  std::optional<WalHead> head;
  std::optional<Lsn> overwritten;
};

WalReader::Options OptionsFor(const WalWriter& wal) {
  return {.begin = wal.options().begin,
          .system_identifier = wal.options().system_identifier,
          .segment_size = wal.options().segment_size,
          .largest_kept = kKept};
}

Seen Read(ByteView bytes, const WalReader::Options& options, std::mt19937_64* pieces = nullptr) {
  Seen seen;
  WalReader reader(options, [&](const WalRecord& record) {
    seen.records.push_back(DescribeRecord(record));
    seen.begins.push_back(record.begin);
    EXPECT_GT(record.end, record.begin);
    EXPECT_EQ(record.end.value % 8, 0U);
    EXPECT_EQ(reader.end(), record.end);
    return Ok();
  });
  while (!bytes.empty()) {
    const std::size_t piece = pieces == nullptr
                                  ? bytes.size()
                                  : std::min<std::size_t>(bytes.size(), 1 + (*pieces)() % 30'000);
    const Status fed = reader.Feed(bytes.first(piece));
    EXPECT_TRUE(fed.has_value()) << fed.error().message;
    bytes = bytes.subspan(piece);
  }
  seen.end = reader.Finish();
  seen.why = reader.why();
  seen.end_lsn = reader.end();
  seen.tail = reader.tail();
  seen.head = reader.head();
  seen.overwritten = reader.overwritten();
  return seen;
}

Seen Read(const WalWriter& wal) {
  return Read(wal.Whole(), OptionsFor(wal));
}

// --- Any stream of records, cut in any way
// --------------------------------------------------------

Bytes RandomBytes(std::mt19937_64& random, std::size_t length) {
  Bytes bytes(length);
  std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random()); });
  return bytes;
}

WrittenBlock RandomBlock(std::mt19937_64& random, int id, bool may_be_same) {
  WrittenBlock block{.id = static_cast<std::uint8_t>(id),
                     .flags = static_cast<std::uint8_t>(random() % 4),
                     .file = {1663, static_cast<std::uint32_t>(random() % 5),
                              static_cast<std::uint32_t>(random())},
                     .block = static_cast<std::uint32_t>(random())};
  block.flags |= random() % 4 == 0 ? 0x40 : 0;
  block.flags |= may_be_same && random() % 2 == 0 ? 0x80 : 0;
  if (random() % 2 == 0) {
    block.data = RandomBytes(random, random() % 300);
  }
  if (random() % 6 == 0) {
    block.image = RandomBytes(random, random() % 8192);
    block.image_info = random() % 2 == 0 ? 0x02 : 0;
    if (random() % 2 == 0) {
      block.image_info |= 0x01;
      block.hole_offset = 100;
    }
    if (random() % 2 == 0) {
      block.image_info |= 1U << (2 + random() % 3);
      block.hole_length = 20;
    }
  }
  return block;
}

WrittenRecord RandomRecord(std::mt19937_64& random) {
  WrittenRecord record{.manager = static_cast<std::uint8_t>(random() % 10 == 0 ? 200 : 9),
                       .info = static_cast<std::uint8_t>(random()),
                       .xid = static_cast<std::uint32_t>(random())};
  int id = 0;
  for (std::size_t blocks = random() % 8 == 0 ? random() % 34 : random() % 3; blocks > 0;
       --blocks) {
    record.blocks.push_back(RandomBlock(random, id, !record.blocks.empty()));
    id += random() % 20 == 0 && id + static_cast<int>(blocks) < 31 ? 2 : 1;
  }
  if (random() % 10 == 0) {
    record.origin = static_cast<std::uint16_t>(1 + random() % 100);
  }
  if (random() % 10 == 0) {
    record.top_xid = static_cast<std::uint32_t>(1 + random() % 100);
  }
  const std::uint64_t kind = random() % 400;
  record.main_data = RandomBytes(random, kind == 0  ? random() % 3'000'000
                                         : kind < 9 ? random() % 60'000
                                                    : random() % 400);
  return record;
}

struct Stream {
  explicit Stream(const WalWriter::Options& options) : wal(options) {}

  WalWriter wal;
  std::vector<std::string> expected;
};

void AddRandom(Stream& stream, std::mt19937_64& random) {
  WalWriter& wal = stream.wal;
  const Lsn previous = wal.previous();
  WrittenRecord record = RandomRecord(random);
  const std::uint64_t kind = random() % 300;
  if (kind == 0) {
    const Lsn begin = wal.Switch();
    stream.expected.push_back(
        DescribeWritten({.manager = kXlogManager, .info = kXlogSwitch}, begin, previous));
    return;
  }
  if (kind < 6) {
    record.main_data.resize(wal.options().page_size * (3 + random() % 4));
    const Lsn given_up{(wal.position().value + 7) & ~std::uint64_t{7}};
    const Lsn begin = wal.GiveUp(record, 1 + random() % 2);
    Bytes data;
    const bool at_page = given_up.value % wal.options().page_size == 0;
    const bool at_segment = given_up.value % wal.options().segment_size == 0;
    PutNumber(data, given_up.value + (at_segment ? 40 : at_page ? 24 : 0));
    PutNumber(data, std::uint64_t{1});
    stream.expected.push_back(DescribeWritten(
        {.manager = kXlogManager, .info = 0xD0, .main_data = data}, begin, previous));
    return;
  }
  const Lsn begin = wal.Add(record);
  stream.expected.push_back(DescribeWritten(record, begin, previous));
}

Stream MakeStream(std::mt19937_64& random) {
  static constexpr std::array<std::uint16_t, 5> kMagics{0xD110, 0xD113, 0xD116, 0xD118, 0xD120};
  Stream stream({.begin = Lsn{(1 + random() % 3000) << 20},
                 .page_size = std::size_t{1024} << (random() % 7),
                 .magic = kMagics[random() % kMagics.size()]});
  while (stream.wal.bytes().size() < 5 * kSegment) {
    AddRandom(stream, random);
  }
  return stream;
}

// Reads each segment by itself, in random order, and puts the borders together afterwards.
std::vector<std::string> ReadSegmentsApart(const Stream& stream, std::mt19937_64& random) {
  const Bytes bytes = stream.wal.Whole();
  std::vector<std::size_t> order(bytes.size() / kSegment);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::shuffle(order, random);
  std::map<std::size_t, Seen> segments;
  for (const std::size_t segment : order) {
    WalReader::Options options = OptionsFor(stream.wal);
    options.begin.value += segment * kSegment;
    segments[segment] =
        Read(ByteView(bytes).subspan(segment * kSegment, kSegment), options, &random);
  }
  std::vector<std::string> records;
  for (std::size_t segment = 0; segment < segments.size(); ++segment) {
    const Seen& seen = segments[segment];
    records.insert(records.end(), seen.records.begin(), seen.records.end());
    std::vector<WalTail> tails;
    for (std::size_t next = segment + 1; next < segments.size() && segments[next].tail; ++next) {
      tails.push_back(*segments[next].tail);
    }
    if (!seen.head) {
      continue;
    }
    const auto joined =
        JoinBorder(*seen.head, tails, {.largest_kept = kKept}, [&](const WalRecord& record) {
          records.push_back(DescribeRecord(record));
          return Ok();
        });
    EXPECT_TRUE(joined.has_value()) << joined.error().message;
    EXPECT_NE(*joined, BorderOutcome::kIncomplete);
  }
  return records;
}

void ExpectSame(const std::vector<std::string>& records, const std::vector<std::string>& expected) {
  const auto [record, other] = std::ranges::mismatch(records, expected);
  EXPECT_EQ(record == records.end() ? "the end" : *record,
            other == expected.end() ? "the end" : *other)
      << "record " << record - records.begin();
}

TEST(WalReader, AnyStreamOfRecordsIsReadHoweverItIsCut) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const Stream stream = MakeStream(random);
    const Bytes bytes = stream.wal.Whole();
    const Seen whole = Read(bytes, OptionsFor(stream.wal));
    ExpectSame(whole.records, stream.expected);
    ExpectSame(Read(bytes, OptionsFor(stream.wal), &random).records, stream.expected);
    ExpectSame(ReadSegmentsApart(stream, random), stream.expected);
  }
}

// The border of a page, and of a segment, at every place of a record.
TEST(WalReader, ABorderMayLieAnywhereInARecord) {
  const WrittenRecord record{
      .manager = 11,
      .blocks = {{.id = 0, .file = {1663, 5, 16384}, .block = 7, .data = Bytes(20, 1)},
                 {.id = 3,
                  .flags = 0x80 | 2,
                  .block = 9,
                  .image = Bytes(50, 2),
                  .image_info = 0x05,
                  .hole_offset = 30,
                  .hole_length = 10}},
      .origin = 4,
      .top_xid = 70,
      .main_data = Bytes(30, 3)};
  const std::size_t length = EncodeRecord(record).size();
  for (std::size_t left = 8; left < length; left += 8) {
    for (const bool at_segment : {false, true}) {
      WalWriter wal({.page_size = 2048});
      if (at_segment) {
        wal.Add({.main_data = Bytes(kSegment - 14'000, 1)});
        while (wal.bytes().size() < kSegment - 2048) {
          wal.Add({.main_data = Bytes(90, 2)});
        }
      }
      wal.FillTo(left);
      const Lsn previous = wal.previous();
      const Lsn begin = wal.Add(record);
      EXPECT_EQ(begin.value % 2048, 2048 - left);
      wal.Add({.main_data = Bytes(5)});
      const Seen seen = Read(wal);
      ASSERT_GE(seen.records.size(), 2U) << seen.why;
      EXPECT_EQ(seen.records[seen.records.size() - 2], DescribeWritten(record, begin, previous));
    }
  }
}

TEST(WalReader, VisitsTheManagersThatAreAskedFor) {
  WalWriter wal({});
  wal.Add({.manager = 9, .main_data = Bytes(20'000)});
  const Lsn in_page = wal.Add({.manager = 1});
  wal.Add({.manager = 9});
  wal.Add({.manager = 200});
  wal.Add({.manager = kXlogManager});
  const Lsn in_parts = wal.Add({.manager = 1, .main_data = Bytes(9000)});
  const Lsn in_place = wal.GiveUp({.manager = 9, .main_data = Bytes(20'000)}, 1);
  WalReader::Options options = OptionsFor(wal);
  options.managers = 1U << 1;
  EXPECT_THAT(Read(wal.Whole(), options).begins, ElementsAre(in_page, in_parts));
  options.managers = 0;
  const Seen none = Read(wal.Whole(), options);
  EXPECT_THAT(none.begins, IsEmpty());
  EXPECT_EQ(none.end, WalEnd::kUnwritten) << none.why;
  EXPECT_GT(none.end_lsn, in_place);
  wal.Switch();
  EXPECT_EQ(Read(wal.Whole(), options).end, WalEnd::kSwitch);
}

// --- Where WAL ends
// -------------------------------------------------------------------------------

TEST(WalReader, GoesOnInTheNextSegmentAfterASwitch) {
  WalWriter wal({});
  wal.Add({});
  const Lsn at = wal.Switch();
  Bytes first = wal.Whole();
  first.back() = 0xA5;  // the filler may be anything
  const Seen seen = Read(first, OptionsFor(wal));
  EXPECT_EQ(seen.end, WalEnd::kSwitch);
  EXPECT_EQ(seen.why, "");
  EXPECT_EQ(seen.begins.back(), at);
  EXPECT_EQ(seen.end_lsn, Lsn{8 * kSegment}) << "the record reaches to the end";
  wal.Add({});
  EXPECT_THAT(Read(wal).records, SizeIs(3));
}

TEST(WalReader, EndsWhereNothingWasWritten) {
  WalWriter wal({});
  wal.Add({.main_data = Bytes(100)});
  const Seen in_page = Read(wal);
  EXPECT_EQ(in_page.end, WalEnd::kUnwritten);
  EXPECT_EQ(in_page.why, "no WAL was written at 0/7000" + in_page.why.substr(28));
  EXPECT_EQ(in_page.end_lsn, Lsn{(wal.position().value + 7) / 8 * 8});
  wal.FillTo(0);
  const Seen at_page = Read(wal);
  EXPECT_EQ(at_page.end, WalEnd::kUnwritten);
  EXPECT_THAT(at_page.records, SizeIs(2));
  const Seen nothing = Read(Bytes(kSegment), OptionsFor(wal));
  EXPECT_EQ(nothing.end, WalEnd::kUnwritten);
  EXPECT_EQ(nothing.end_lsn, wal.options().begin);
}

TEST(WalReader, EndsAtAPageOfTheFilesEarlierUse) {
  WalWriter old({.begin = Lsn{3 * kSegment}});
  while (old.bytes().size() < 100'000) {
    old.Add({.main_data = Bytes(3000)});
  }
  WalWriter wal({});
  wal.Add({.main_data = Bytes(9000)});
  Bytes bytes = old.Whole();
  const Bytes written = wal.bytes();
  std::ranges::copy(written, bytes.begin());
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(written.size()), bytes.begin() + 16384, 0);
  const Seen behind = Read(bytes, OptionsFor(wal));
  EXPECT_THAT(behind.records, SizeIs(1));
  EXPECT_EQ(behind.end, WalEnd::kUnwritten) << behind.why;
  // The rest of a record was not written before the crash.
  std::copy_n(old.bytes().begin() + 8192, 8192, bytes.begin() + 8192);
  const Seen within = Read(bytes, OptionsFor(wal));
  EXPECT_EQ(within.end, WalEnd::kUnwritten);
  EXPECT_THAT(within.why, HasSubstr("earlier use"));
  EXPECT_FALSE(within.head);
  EXPECT_EQ(within.end_lsn.value, wal.options().begin.value);
  const Seen recycled = Read(old.Whole(), OptionsFor(wal));
  EXPECT_EQ(recycled.end, WalEnd::kUnwritten);
}

// A sector of a page may be older than the page's header.
TEST(WalReader, EndsAtARecordThatDoesNotFollowTheOneBefore) {
  WalWriter wal({});
  wal.Add({});
  wal.Add({});
  wal.Add({});
  Bytes bytes = wal.Whole();
  StoreLittleEndian(bytes.data() + 40 + 24 + 8, wal.options().begin.value + 48);
  const Seen seen = Read(bytes, OptionsFor(wal));
  EXPECT_THAT(seen.records, SizeIs(1));
  EXPECT_EQ(seen.end, WalEnd::kUnwritten);
  EXPECT_THAT(seen.why, HasSubstr("does not follow"));
  // Of the first one it must only be before it.
  StoreLittleEndian(bytes.data() + 40 + 8, wal.options().begin.value + 40);
  EXPECT_EQ(Read(bytes, OptionsFor(wal)).end, WalEnd::kUnwritten);
  // A record whose header lies in two pages.
  WalWriter split({});
  split.FillTo(8);
  split.Add({});
  Bytes damaged = split.Whole();
  damaged[8192 + 24] ^= 1;
  EXPECT_EQ(Read(damaged, OptionsFor(split)).end, WalEnd::kUnwritten);
}

TEST(WalReader, ARecordThatWasGivenUpIsNotThere) {
  WalWriter wal({});
  const Lsn first = wal.Add({});
  const Lsn given_up{wal.position().value};
  const Lsn in_place = wal.GiveUp({.main_data = Bytes(40'000)}, 2);
  const Seen seen = Read(wal);
  EXPECT_THAT(seen.begins, ElementsAre(first, in_place));
  EXPECT_EQ(seen.overwritten, given_up);

  Bytes bytes = wal.Whole();
  bytes[2 * 8192 + 24 + 26] ^= 1;  // the LSN of which the record in its place speaks
  WalReader::Options options = OptionsFor(wal);
  options.check_crc = false;
  const Seen other = Read(bytes, options);
  EXPECT_EQ(other.end, WalEnd::kDamaged);
  EXPECT_THAT(other.why, HasSubstr("in place of the one that was given up"));
  bytes[2 * 8192 + 24 + kWalManagerAt] = 9;
  options.managers = 0;
  EXPECT_EQ(Read(bytes, options).end, WalEnd::kDamaged) << "also if nobody wants to see it";
}

// --- Damage
// ---------------------------------------------------------------------------------------

struct Damage {
  std::size_t at;
  std::vector<std::uint8_t> bytes;
  const char* why;
  WalEnd end = WalEnd::kDamaged;
};

TEST(WalReader, NamesWhatIsWrong) {
  WalWriter wal({});
  const WrittenBlock block{.id = 1, .file = {1663, 5, 16384}, .data = Bytes(20, 1)};
  wal.Add({.blocks = {block}, .main_data = Bytes(9)});
  wal.Add({.main_data = Bytes(20'000)});
  const Bytes good = wal.Whole();
  ASSERT_EQ(Read(good, OptionsFor(wal)).end, WalEnd::kUnwritten);
  const std::size_t page = 8192;
  const std::vector<Damage> damages{
      {0, {0xA5, 0xA5}, "invalid header of a segment"},
      {2, {0}, "invalid header of a segment"},
      {32, {1}, "invalid header of a segment"},
      {36, {1}, "invalid header of a segment"},
      {2, {0x12}, "invalid flags of a page"},
      {2, {0x03}, "impossible length of a continued record"},
      {page, {0x13}, "invalid magic number of a page"},
      {page + 2, {0}, "no continuation of a record"},
      {page + 2, {3}, "the header of another cluster's segment"},
      {page + 4, {0}, "an earlier timeline"},
      {page + 16, {1}, "another length of a continued record"},
      {40, {23}, "impossible length of a record"},
      {40 + 3, {0x40}, "impossible length of a record"},
      {40 + 17, {99}, "unknown resource manager"},
      {40 + 24, {33}, "wrong CRC of a record"},
      {page + 100, {33}, "wrong CRC of a record"},
      {40, {0, 0, 0, 0}, "no WAL was written", WalEnd::kUnwritten},
      {page, {0, 0}, "no WAL was written", WalEnd::kUnwritten},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.why);
    Bytes bytes = good;
    std::ranges::copy(damage.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(damage.at));
    const Seen seen = Read(bytes, OptionsFor(wal));
    EXPECT_EQ(seen.end, damage.end) << seen.why;
    EXPECT_THAT(seen.why, HasSubstr(damage.why));
  }
}

TEST(WalReader, EverySegmentBeginsWithALongHeader) {
  WalWriter wal({});
  wal.Switch();
  wal.Add({});
  Bytes bytes = wal.Whole();
  bytes[kSegment + 2] = 0;
  const Seen seen = Read(bytes, OptionsFor(wal));
  EXPECT_EQ(seen.end, WalEnd::kDamaged);
  EXPECT_THAT(seen.why, HasSubstr("no long header"));
}

TEST(WalReader, NoPageContinuesARecordThatIsWhole) {
  WalWriter wal({});
  wal.FillTo(0);
  wal.Add({});
  Bytes bytes = wal.Whole();
  bytes[8192 + 2] = 1;
  bytes[8192 + 16] = 24;
  EXPECT_THAT(Read(bytes, OptionsFor(wal)).why, HasSubstr("a continuation without a record"));
}

std::string WhatIsWrongWith(Bytes record) {
  WalWriter wal({});
  StoreLittleEndian(record.data(), static_cast<std::uint32_t>(record.size()));
  wal.AddBytes(record);
  wal.FillTo(8);
  wal.AddBytes(record);  // the same in parts
  const Seen seen = Read(wal);
  EXPECT_THAT(seen.records, IsEmpty());
  EXPECT_EQ(seen.end, WalEnd::kDamaged);
  WalWriter parts({});
  parts.FillTo(8);
  parts.AddBytes(record);
  const Seen in_parts = Read(parts);
  EXPECT_THAT(in_parts.records, SizeIs(1));
  EXPECT_EQ(in_parts.why.substr(0, in_parts.why.find(" at ")),
            seen.why.substr(0, seen.why.find(" at ")));
  return seen.why;
}

Bytes Headers(const std::vector<WrittenBlock>& blocks) {
  return EncodeRecord({.blocks = blocks});
}

TEST(WalReader, NamesWhatIsWrongInTheHeadersOfARecord) {
  const RelationFile file{1663, 5, 16384};
  const WrittenBlock first{.id = 0, .file = file};
  EXPECT_THAT(WhatIsWrongWith(Headers({{.id = 33, .file = file}})), HasSubstr("unknown kind"));
  EXPECT_THAT(WhatIsWrongWith(Headers({first, {.id = 0, .file = file}})),
              HasSubstr("out of order"));
  EXPECT_THAT(WhatIsWrongWith(Headers({{.id = 0, .flags = 0x80}})), HasSubstr("names no relation"));
  EXPECT_THAT(WhatIsWrongWith(Headers({{.id = 0, .flags = 0x20, .file = file}})),
              HasSubstr("contradict its flags"));
  const char* const measures = "impossible measures";
  WrittenBlock image{.id = 0, .file = file, .image = Bytes(100), .image_info = 0x01};
  EXPECT_THAT(WhatIsWrongWith(Headers({image})), HasSubstr(measures)) << "a hole at 0";
  image.hole_offset = 9;
  image.image_info = 0x05;
  EXPECT_THAT(WhatIsWrongWith(Headers({image})), HasSubstr(measures)) << "a hole of no bytes";
  image.image_info = 0x04;
  EXPECT_THAT(WhatIsWrongWith(Headers({image})), HasSubstr(measures)) << "a place, and no hole";
  image = {.id = 0, .file = file, .image = Bytes(40'000)};
  EXPECT_THAT(WhatIsWrongWith(Headers({image})), HasSubstr(measures)) << "larger than a page";

  Bytes more = Headers({first});
  more.push_back(255);
  more.push_back(9);
  EXPECT_THAT(WhatIsWrongWith(more), HasSubstr("its length is wrong"));
  Bytes cut = Headers({first});
  cut.resize(cut.size() - 1);
  EXPECT_THAT(WhatIsWrongWith(cut), HasSubstr("its length is wrong"));
  Bytes again = Headers({});
  for (int i = 0; i < 700; ++i) {
    PutBytes(again, {252, 1, 1, 1, 1});
  }
  EXPECT_THAT(WhatIsWrongWith(again), HasSubstr("headers are too long"));
}

TEST(WalReader, RefusesWalOfAnotherClusterOrVersion) {
  WalWriter wal({});
  wal.Add({});
  const auto feed = [&](const WalReader::Options& options, const Bytes& bytes) {
    WalReader reader(options, [](const WalRecord&) { return Ok(); });
    const Status fed = reader.Feed(bytes);
    return fed ? "read" : std::string(ErrorCodeName(fed.error().code));
  };
  WalReader::Options options = OptionsFor(wal);
  EXPECT_EQ(feed(options, wal.Whole()), "read");
  options.system_identifier = 1;
  EXPECT_EQ(feed(options, wal.Whole()), "data_corrupted");
  options = OptionsFor(wal);
  options.segment_size = 2 * kSegment;
  EXPECT_EQ(feed(options, wal.Whole()), "data_corrupted");
  WalWriter older({.magic = 0xD10D});
  older.Add({});
  EXPECT_EQ(feed(OptionsFor(older), older.Whole()), "unsupported");
}

TEST(WalReader, TellsVersionAndMeasures) {
  const std::map<std::uint16_t, int> versions{{0xD110, 15}, {0xD113, 16}, {0xD116, 17},
                                              {0xD118, 18}, {0xD120, 19}, {0xD10D, 0}};
  for (const auto& [magic, version] : versions) {
    EXPECT_EQ(VersionOfWalMagic(magic), version);
  }
  WalWriter wal({.begin = Lsn{std::uint64_t{3} << 30},
                 .segment_size = std::uint64_t{1} << 30,
                 .page_size = 65536,
                 .magic = 0xD116,
                 .timeline = 9});
  wal.Add({});
  wal.bytes().resize(65536);
  WalReader reader({.begin = wal.options().begin}, [](const WalRecord&) { return Ok(); });
  ASSERT_TRUE(reader.Feed(wal.bytes()).has_value());
  EXPECT_EQ(reader.version(), 17);
  EXPECT_EQ(reader.page_size(), 65536U);
  EXPECT_EQ(reader.segment_size(), std::uint64_t{1} << 30);
  EXPECT_EQ(reader.timeline(), 9U);
}

TEST(WalReader, AnErrorOfTheVisitorEndsTheReading) {
  WalWriter wal({});
  wal.Add({});
  wal.Add({});
  int visits = 0;
  WalReader reader(OptionsFor(wal), [&](const WalRecord&) -> Status {
    ++visits;
    return MakeError(ErrorCode::kCancelled, "enough");
  });
  const Status fed = reader.Feed(wal.Whole());
  ASSERT_FALSE(fed.has_value());
  EXPECT_EQ(fed.error().message, "enough");
  EXPECT_TRUE(reader.Feed(wal.Whole()).has_value());
  EXPECT_EQ(visits, 1);
}

// --- Limits
// ---------------------------------------------------------------------------------------

TEST(WalReader, OfALongRecordTheBeginningIsKept) {
  WalWriter wal({});
  Bytes data(3'000'000);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<std::uint8_t>(i * 7 / 5);
  }
  const WrittenBlock block{.id = 0, .file = {1, 2, 3}, .data = Bytes(60'000)};
  wal.Add({.blocks = {block}, .main_data = data});
  wal.Add({});
  WalReader::Options options = OptionsFor(wal);
  options.largest_kept = 50'000;
  int visits = 0;
  WalReader reader(options, [&](const WalRecord& record) {
    if (visits++ == 0) {
      EXPECT_THAT(record.blocks, SizeIs(1));
      EXPECT_EQ(record.main_data_length, data.size());
      EXPECT_LE(record.main_data.size(), options.largest_kept);
      EXPECT_GT(record.main_data.size(), options.largest_kept - 200);
      EXPECT_TRUE(std::equal(record.main_data.begin(), record.main_data.end(), data.begin()));
    }
    return Ok();
  });
  ASSERT_TRUE(reader.Feed(wal.Whole()).has_value());
  EXPECT_EQ(visits, 2) << "the CRC is that of the whole record";

  // In the middle of the record.
  options.begin.value += kSegment;
  const Seen middle = Read(ByteView(wal.bytes()).subspan(kSegment, kSegment), options);
  ASSERT_TRUE(middle.tail);
  EXPECT_EQ(middle.tail->kept.size(), options.largest_kept);
  EXPECT_EQ(middle.tail->taken, kSegment - 40 - std::uint64_t{127} * 24);
  EXPECT_GT(middle.tail->length, middle.tail->taken);
}

// It says that it has 1000 MiB. What it has takes no memory in advance, and no more than the limit.
TEST(WalReader, ALengthThatIsClaimedTakesNoMemory) {
  WalWriter wal({.begin = Lsn{std::uint64_t{16} << 20}, .segment_size = std::uint64_t{16} << 20});
  Bytes record = EncodeRecord({.main_data = Bytes(std::size_t{12} << 20)});
  StoreLittleEndian(record.data(), std::uint32_t{1000} << 20);
  StoreLittleEndian(record.data() + 25, (std::uint32_t{1000} << 20) - 29);
  wal.AddBytes(record);
  Bytes bytes = wal.bytes();
  for (std::size_t page = 8192; page < bytes.size(); page += 8192) {
    const std::uint64_t before = 8192 - 40 + (page / 8192 - 1) * (8192 - 24);
    StoreLittleEndian(bytes.data() + page + 16,
                      static_cast<std::uint32_t>((std::uint64_t{1000} << 20) - before));
  }
  bytes.resize((std::size_t{12} << 20) / 8192 * 8192);
  WalReader::Options options = OptionsFor(wal);
  options.largest_kept = std::size_t{1} << 20;
  const MemoryGauge gauge;
  WalReader reader(options, [](const WalRecord&) { return Ok(); });
  ASSERT_TRUE(reader.Feed(bytes).has_value());
  EXPECT_EQ(reader.Finish(), WalEnd::kMore) << reader.why();
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), std::size_t{4} << 20);
  }
}

TEST(WalReader, WhatGoesOnBehindTheEndIsTold) {
  WalWriter wal({});
  wal.Add({.main_data = Bytes(kSegment - 30'000)});
  const Lsn begin = wal.Add(
      {.blocks = {{.id = 0, .file = {1, 2, 3}, .block = 4}}, .main_data = Bytes(100'000, 5)});
  WalReader reader(OptionsFor(wal), [](const WalRecord&) { return Ok(); });
  ASSERT_TRUE(reader.Feed(ByteView(wal.bytes()).first(kSegment)).has_value());
  EXPECT_EQ(reader.Finish(), WalEnd::kMore);
  EXPECT_EQ(reader.end(), begin);
  ASSERT_NE(reader.unfinished(), nullptr);
  EXPECT_EQ(reader.unfinished()->begin, begin);
  EXPECT_THAT(reader.unfinished()->blocks, SizeIs(1));
  ASSERT_TRUE(reader.head());
  EXPECT_EQ(reader.head()->begin, begin);
}

// --- Borders
// --------------------------------------------------------------------------------------

struct Border {
  WalHead head;
  WalTail tail;
};

Border MakeBorder(std::size_t largest_kept) {
  WalWriter wal({});
  wal.Add({.main_data = Bytes(kSegment - 30'000)});
  wal.Add({.blocks = {{.id = 0, .file = {1, 2, 3}, .block = 4}}, .main_data = Bytes(100'000, 5)});
  wal.Add({});
  const Bytes bytes = wal.Whole();
  WalReader::Options options = OptionsFor(wal);
  options.largest_kept = largest_kept;
  const Seen first = Read(ByteView(bytes).first(kSegment), options);
  options.begin.value += kSegment;
  const Seen second = Read(ByteView(bytes).subspan(kSegment), options);
  return {first.head.value(), second.tail.value()};
}

Result<BorderOutcome> Join(const WalHead& head, const std::vector<WalTail>& tails,
                           WalRecord* record = nullptr) {
  return JoinBorder(head, tails, {}, [&](const WalRecord& joined) {
    EXPECT_EQ(joined.main_data_length, 100'000U);
    if (record != nullptr) {
      *record = joined;
    }
    return Ok();
  });
}

TEST(WalBorder, BothSidesMakeARecord) {
  const Border border = MakeBorder(std::size_t{1} << 20);
  WalRecord record;
  EXPECT_EQ(Join(border.head, {border.tail}, &record).value(), BorderOutcome::kRecord);
  EXPECT_EQ(record.begin, border.head.begin);
  EXPECT_EQ(record.end, border.tail.end);
  EXPECT_EQ(record.main_data.size(), 100'000U);
  EXPECT_EQ(Join(border.head, {}).value(), BorderOutcome::kIncomplete);
}

TEST(WalBorder, WithoutTheEndOfALongTailTheRecordIsThereAllTheSame) {
  Border border = MakeBorder(1000);
  border.head.crc.emplace();  // any: it cannot be checked
  WalRecord record;
  EXPECT_EQ(Join(border.head, {border.tail}, &record).value(), BorderOutcome::kRecord);
  EXPECT_LT(record.main_data.size(), 100'000U);
}

// Nor are the data of the tail put in the place of what the head has not kept.
TEST(WalBorder, BehindAHeadThatWasCutThereIsNoMoreOfTheData) {
  Border border = MakeBorder(std::size_t{1} << 20);
  const Bytes whole = border.head.kept;
  border.head.kept.resize(whole.size() - 100);
  std::size_t kept = 0;
  EXPECT_EQ(JoinBorder(border.head, {&border.tail, 1}, {},
                       [&](const WalRecord& joined) {
                         kept = joined.main_data.size();
                         return Ok();
                       })
                .value(),
            BorderOutcome::kRecord);
  EXPECT_LT(kept, 30'000U);
}

// The data behind bytes that are not known are not put in their place.
TEST(WalBorder, OfARecordOverThreeSegmentsTheBeginningIsThere) {
  WalWriter wal({});
  Bytes data(std::size_t{5} << 19);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<std::uint8_t>(i * 7 / 5);
  }
  wal.Add({.main_data = Bytes(1000)});
  wal.Add({.main_data = data});
  const Bytes bytes = wal.Whole();
  std::vector<Seen> seen;
  for (std::size_t segment = 0; segment < 3; ++segment) {
    WalReader::Options options = OptionsFor(wal);
    options.begin.value += segment * kSegment;
    options.largest_kept = segment == 0 ? kKept : 50'000;
    seen.push_back(Read(ByteView(bytes).subspan(segment * kSegment, kSegment), options));
  }
  const std::vector<WalTail> tails{seen[1].tail.value(), seen[2].tail.value()};
  std::size_t kept = 0;
  const auto joined = JoinBorder(
      seen[0].head.value(), tails, {.largest_kept = kKept}, [&](const WalRecord& record) {
        kept = record.main_data.size();
        EXPECT_TRUE(std::equal(record.main_data.begin(), record.main_data.end(), data.begin()));
        return Ok();
      });
  ASSERT_TRUE(joined.has_value()) << joined.error().message;
  EXPECT_EQ(*joined, BorderOutcome::kRecord);
  EXPECT_GT(kept, kSegment);
  EXPECT_LT(kept, kSegment + 100'000);
}

// The crash was in the segment before, and what took the place begins this one, or a later page.
TEST(WalBorder, ARecordThatWasGivenUpIsNone) {
  for (const std::size_t pages : {1U, 2U}) {
    WalWriter wal({});
    wal.Add({.main_data = Bytes(kSegment - 30'000)});
    while (wal.bytes().size() < kSegment - 8192) {
      wal.Add({.main_data = Bytes(90)});
    }
    const Lsn in_place = wal.GiveUp({.main_data = Bytes(40'000)}, pages);
    const Bytes bytes = wal.Whole();
    const Seen first = Read(ByteView(bytes).first(kSegment), OptionsFor(wal));
    WalReader::Options options = OptionsFor(wal);
    options.begin.value += kSegment;
    const Seen second = Read(ByteView(bytes).subspan(kSegment), options);
    EXPECT_THAT(second.begins, ElementsAre(in_place));
    ASSERT_TRUE(first.head && second.tail);
    EXPECT_EQ(Join(*first.head, {*second.tail}).value(), BorderOutcome::kOverwritten);
  }
}

TEST(WalBorder, RefusesWhatDoesNotBelongTogether) {
  const Border good = MakeBorder(std::size_t{1} << 20);
  EXPECT_EQ(good.tail.record_begin, good.head.begin);
  const auto why = [](const Border& border) {
    const auto joined = Join(border.head, {border.tail});
    return joined ? "joined" : joined.error().message;
  };
  Border border = good;
  border.tail.length -= 1;
  EXPECT_THAT(why(border), HasSubstr("are not as many as it says"));
  border = good;
  border.tail.length += 1;
  EXPECT_THAT(why(border), HasSubstr("are not as many as it says"));
  border = good;
  border.tail.record_begin = Lsn{8};
  EXPECT_THAT(why(border), HasSubstr("names another one"));
  border = good;
  border.tail.kept[5] ^= 1;
  EXPECT_THAT(why(border), HasSubstr("its CRC is wrong"));
  border = good;
  border.head.length += 1;
  EXPECT_THAT(why(border), HasSubstr("contradicts itself"));
  border = good;
  border.head.kept.clear();
  EXPECT_THAT(why(border), HasSubstr("contradicts itself"));
  border = good;
  border.head.kept.resize(30);
  EXPECT_THAT(why(border), HasSubstr("contradicts itself"));
  border = good;
  border.tail.overwritten = true;
  EXPECT_EQ(Join(border.head, {border.tail}).value(), BorderOutcome::kOverwritten);
}

}  // namespace
}  // namespace veza
