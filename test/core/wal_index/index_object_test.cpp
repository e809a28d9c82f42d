#include "core/wal_index/index_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "core/repository/test_repository.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/indexed_wal.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kNoon{std::chrono::seconds(1'795'348'800)};
constexpr RelationFile kAccounts{1663, 5, 16384};

// Three segments, with a record across each border.
WalWriter ThreeSegments() {
  WalWriter wal({.timeline = 3});
  for (std::uint32_t i = 0; wal.bytes().size() < 5 * kIndexedSegment / 2; ++i) {
    WrittenRecord change = Change(100 + i / 4, kAccounts, i % 1000);
    change.main_data.resize(3000);
    wal.Add(change);
    if (i % 4 == 3) {
      wal.Add(EndRecord({.xid = 100 + i / 4, .time = kNoon + std::chrono::seconds(i)}));
    }
  }
  return wal;
}

std::vector<SegmentIndex> WithDigests(std::vector<SegmentIndex> indexes, DigestMethod method) {
  for (SegmentIndex& index : indexes) {
    index.summary.digest.method = method;
    index.summary.digest.bytes[0] = static_cast<std::uint8_t>(index.summary.number);
    index.summary.stored = 1000 + index.summary.number;
  }
  return indexes;
}

class IndexObjectOf : public testing::TestWithParam<Cipher> {};
INSTANTIATE_TEST_SUITE_P(Ciphers, IndexObjectOf,
                         testing::Values(Cipher::kNone, Cipher::kAes256Gcm, Cipher::kAes256Cbc));

TEST_P(IndexObjectOf, GivesBackWhatWasStored) {
  const TestRepository repository(GetParam());
  const auto indexes =
      WithDigests(IndexAll(ThreeSegments()),
                  GetParam() == Cipher::kNone ? DigestMethod::kSha256 : DigestMethod::kGmac);
  ASSERT_THAT(indexes, SizeIs(3));
  IndexObjectWriter writer(*repository, kTestSystem);
  EXPECT_TRUE(writer.empty());
  for (const SegmentIndex& index : indexes) {
    ASSERT_TRUE(writer.Fits(index));
    writer.Add(index);
  }
  const Result<std::string> name = writer.Store();
  ASSERT_OK(name);
  EXPECT_TRUE(writer.empty());

  const auto listed = ListIndexes(*repository, kTestSystem);
  ASSERT_OK(listed);
  ASSERT_THAT(*listed, SizeIs(1));
  EXPECT_EQ((*listed)[0].name, *name);
  EXPECT_EQ((*listed)[0].first, "000000030000000000000007");
  EXPECT_EQ((*listed)[0].last, "000000030000000000000009");

  const Result<IndexObject> object = IndexObject::Open(*repository, *name);
  ASSERT_OK(object);
  ASSERT_THAT(object->segments(), SizeIs(3));
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const SegmentSummary& read = object->segments()[i];
    const SegmentSummary& written = indexes[i].summary;
    EXPECT_EQ(read.number, written.number);
    EXPECT_EQ(read.digest, written.digest);
    EXPECT_EQ(read.stored, written.stored);
    EXPECT_EQ(read.records, written.records);
    EXPECT_EQ(read.end, written.end);
    EXPECT_EQ(read.head.has_value(), i < 2);
    EXPECT_EQ(read.tail.has_value(), i > 0);
    EXPECT_EQ(object->ReadBlocks(i).value(), indexes[i].blocks);
    EXPECT_EQ(object->ReadTransactions(i).value(), indexes[i].transactions);
    EXPECT_EQ(object->ReadEvents(i).value(), indexes[i].events);
    EXPECT_FALSE(RunsOf(indexes[i].blocks).empty());
    EXPECT_FALSE(TransactionsOf(indexes[i]).ends.empty());
  }
}

Bytes BytesOf(const std::string& path) {
  const std::string text = ReadText(path);
  return {text.begin(), text.end()};
}

// Stores the three segments.
std::string StoreThree(const TestRepository& repository) {
  IndexObjectWriter writer(*repository, kTestSystem);
  for (SegmentIndex& index : WithDigests(IndexAll(ThreeSegments()), DigestMethod::kSha256)) {
    writer.Add(std::move(index));
  }
  return writer.Store().value();
}

TEST(IndexObject, AWriterTakesConsecutiveSegmentsOfOneTimelineOnly) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  SegmentIndex index = IndexAll(ThreeSegments()).front();
  const auto fits = [&](TimelineId timeline, SegmentNumber number, std::uint64_t size) {
    SegmentIndex other = index;
    other.summary.timeline = timeline;
    other.summary.number = number;
    other.summary.segment_size = size;
    return writer.Fits(other);
  };
  EXPECT_TRUE(fits(1, 1000, kIndexedSegment));
  writer.Add(index);
  EXPECT_TRUE(fits(3, 8, kIndexedSegment));
  EXPECT_FALSE(fits(3, 7, kIndexedSegment));
  EXPECT_FALSE(fits(3, 9, kIndexedSegment));
  EXPECT_FALSE(fits(4, 8, kIndexedSegment));
  EXPECT_FALSE(fits(3, 8, 2 * kIndexedSegment));
  SegmentIndex large = index;
  large.summary.number = 8;
  large.blocks.resize(kIndexMostBytes);
  EXPECT_FALSE(writer.Fits(large));
  EXPECT_FALSE(writer.full());
}

TEST(IndexObject, HoldsSixtyFourSegmentsAtMost) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  SegmentIndex index;
  index.summary.timeline = 1;
  index.summary.segment_size = kIndexedSegment;
  for (; !writer.full(); ++index.summary.number) {
    ASSERT_TRUE(writer.Fits(index));
    writer.Add(index);
  }
  EXPECT_EQ(index.summary.number, 64U);
  EXPECT_FALSE(writer.Fits(index));
  const auto object = IndexObject::Open(*repository, writer.Store().value());
  ASSERT_OK(object);
  EXPECT_THAT(object->segments(), SizeIs(64));
  EXPECT_THAT(object->ReadBlocks(63).value(), IsEmpty());
}

// Whatever summaries say, the directory fits into a frame.
TEST(IndexObject, ClosesBeforeTheDirectoryIsTooLarge) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  SegmentIndex index;
  index.summary.timeline = 1;
  index.summary.segment_size = kIndexedSegment;
  index.summary.head.emplace().kept.resize(kIndexLargestKept, 0xFF);
  index.summary.tail.emplace().kept.resize(kIndexLargestKept, 0xFF);
  index.summary.doubt = WalDoubt{Lsn{}, std::string(100, '"')};
  index.summary.doubts = ~std::uint64_t{0};
  index.summary.minutes.resize(kIndexMostMinutes);
  for (std::size_t i = 0; i < index.summary.minutes.size(); ++i) {
    const std::uint64_t most = ~std::uint64_t{0};
    index.summary.minutes[i] = {static_cast<std::int64_t>(most >> 1) - 1000 + static_cast<int>(i),
                                most,
                                most,
                                most,
                                most,
                                most};
  }
  std::size_t count = 0;
  for (; writer.Fits(index); ++index.summary.number, ++count) {
    writer.Add(index);
  }
  EXPECT_GT(count, 10U);
  EXPECT_LT(count, 64U);
  const Result<std::string> name = writer.Store();
  ASSERT_OK(name);
  EXPECT_OK(IndexObject::Open(*repository, *name));
}

// Parts of several frames, and one that cannot be compressed.
TEST(IndexObject, PartsMayBeLargerThanAFrame) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  SegmentIndex index;
  index.summary.timeline = 1;
  index.summary.segment_size = kIndexedSegment;
  std::mt19937_64 random(3);
  index.blocks.resize(kPackFramePlain * 5 / 2);
  std::ranges::generate(index.blocks, [&] { return static_cast<std::uint8_t>(random()); });
  index.events.resize(2 * kPackFramePlain, 'x');
  index.transactions = {1, 2, 3};
  writer.Add(index);
  EXPECT_GT(writer.memory(), index.blocks.size());
  const auto object = IndexObject::Open(*repository, writer.Store().value());
  ASSERT_OK(object);
  EXPECT_EQ(object->ReadBlocks(0).value(), index.blocks);
  EXPECT_EQ(object->ReadEvents(0).value(), index.events);
  EXPECT_EQ(object->ReadTransactions(0).value(), index.transactions);
}

// A directory that the first read does not hold.
TEST(IndexObject, ALargeDirectoryTakesASecondRead) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  std::mt19937_64 random(3);
  SegmentIndex index;
  index.summary.timeline = 1;
  index.summary.segment_size = kIndexedSegment;
  for (; !writer.full(); ++index.summary.number) {
    index.summary.tail.emplace().kept.resize(4000);
    std::ranges::generate(index.summary.tail->kept,
                          [&] { return static_cast<std::uint8_t>(random()); });
    index.blocks = {static_cast<std::uint8_t>(index.summary.number)};
    writer.Add(index);
  }
  const auto object = IndexObject::Open(*repository, writer.Store().value());
  ASSERT_OK(object);
  EXPECT_EQ(object->segments()[63].tail->kept, index.summary.tail->kept);
  EXPECT_EQ(object->ReadBlocks(63).value(), Bytes{63});
}

TEST(IndexObject, AnyDamageIsAnError) {
  const TestRepository repository;
  const std::string name = StoreThree(repository);
  const std::string path = repository.PathOf(name);
  const Bytes good = BytesOf(path);
  const auto reads = [&](const Bytes& bytes) {
    WriteBytes(path, bytes);
    const auto object = IndexObject::Open(*repository, name);
    if (!object) {
      EXPECT_TRUE(object.error().code == ErrorCode::kDataCorrupted ||
                  object.error().code == ErrorCode::kUnsupported ||
                  object.error().code == ErrorCode::kWrongKey)
          << object.error().message;
      return false;
    }
    for (std::size_t i = 0; i < object->segments().size(); ++i) {
      for (const auto& part :
           {object->ReadBlocks(i), object->ReadTransactions(i), object->ReadEvents(i)}) {
        if (!part) {
          EXPECT_EQ(part.error().code, ErrorCode::kDataCorrupted) << part.error().message;
          return false;
        }
      }
    }
    return true;
  };
  EXPECT_TRUE(reads(good));
  // The last frame is empty: who reads parts does not ask for it.
  const std::size_t parts = good.size() - SealedFrameSize(Cipher::kNone, 0);
  for (std::size_t at = 0; at < parts; at += at < 200 ? 1 : 97) {
    Bytes damaged = good;
    damaged[at] ^= 1;
    EXPECT_FALSE(reads(damaged)) << at;
    EXPECT_FALSE(reads(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at)))) << at;
  }
}

// Nobody may move an index to another name.
TEST(IndexObject, IsBoundToItsName) {
  const TestRepository repository;
  const std::string name = StoreThree(repository);
  const std::string other = name.substr(0, name.size() - 1) + (name.back() == '0' ? "1" : "0");
  WriteBytes(repository.PathOf(other), BytesOf(repository.PathOf(name)));
  EXPECT_EQ(IndexObject::Open(*repository, other).error().code, ErrorCode::kDataCorrupted);
  EXPECT_EQ(IndexObject::Open(*repository, "walindex/x").error().code, ErrorCode::kInvalidArgument);
  std::filesystem::remove(repository.PathOf(name));
  EXPECT_EQ(IndexObject::Open(*repository, name).error().code, ErrorCode::kNotFound);
}

TEST(IndexObject, AFailureOfTheStoreEmptiesTheWriter) {
  const TestRepository repository;
  IndexObjectWriter writer(*repository, kTestSystem);
  writer.Add(IndexAll(ThreeSegments()).front());
  repository.store().SetHook([](FaultStore::Operation, std::string_view) {
    return Status(MakeError(ErrorCode::kNoSpace, "no space"));
  });
  EXPECT_FALSE(writer.Store().has_value());
  EXPECT_TRUE(writer.empty());
}

}  // namespace
}  // namespace veza
