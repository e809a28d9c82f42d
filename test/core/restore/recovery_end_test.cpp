#include "core/restore/recovery_end.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

constexpr std::uint64_t kSegment = 1U << 20;
constexpr std::uint32_t kBlock = 8192;
constexpr std::uint64_t kStart = 16 * kSegment;
constexpr std::uint64_t kEnd = kStart + 2 * kSegment;  // two segments are archived

// WAL of two segments, in which the tests set single fields.
class RecoveryEndTest : public testing::Test {
 protected:
  RecoveryEndTest() : wal_(2 * kSegment) {}

  template <typename T>
  void Put(std::uint64_t at, T value) {
    StoreLittleEndian(wal_.data() + (at - kStart), value);
  }
  // Writes a record's header, and continues it on the next page.
  void PutRecord(std::uint64_t at, std::uint32_t length) {
    Put(at, length);
    const std::uint64_t page = (at / kBlock + 1) * kBlock;
    if (page - at >= 16) {
      Put(at + 8, at - 100);
    }
    if (page < kEnd) {
      Put<std::uint16_t>(page + 2, 0x0001);
      Put(page + 8, page);
      Put(page + 16, static_cast<std::uint32_t>(length - (page - at)));
    }
  }
  bool GoesBeyond(std::uint64_t at, std::uint64_t end = kEnd) {
    auto result = RecordGoesBeyond(
        Lsn{at}, Lsn{end}, kSegment, kBlock, [this](Lsn from, std::size_t length) -> Result<Bytes> {
          EXPECT_GE(length, 8U) << "or a length could not be read from it";
          EXPECT_LE(from.value % kBlock + length, kBlock);
          EXPECT_LE(from.value + length, kEnd);
          const auto begin = wal_.begin() + static_cast<long>(from.value - kStart);
          return Bytes(begin, begin + static_cast<long>(length));
        });
    EXPECT_TRUE(result) << result.error().message;
    return result.value_or(false);
  }

  Bytes wal_;
};

TEST_F(RecoveryEndTest, EndOfTheArchive) {
  EXPECT_TRUE(GoesBeyond(kEnd));
  EXPECT_TRUE(GoesBeyond(kEnd + 1000));  // more was archived meanwhile
}

TEST_F(RecoveryEndTest, ZerosAndGarbage) {
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
  EXPECT_FALSE(GoesBeyond(kEnd - 8));
  Put(kStart + 1000, 0x80000000U);  // longer than any record
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
  Put(kStart + 1000, 23U);  // shorter
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
  // A possible length, but the next page does not continue the record.
  Put(kStart + 1000, 3U << 20);
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
}

TEST_F(RecoveryEndTest, RecordThatTheArchiveHolds) {
  PutRecord(kStart + 1000, 5000);  // on one page
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
  PutRecord(kStart + 1000, 100000);  // on several
  EXPECT_FALSE(GoesBeyond(kStart + 1000));
  PutRecord(kStart + kSegment - 1000, 20000);  // in two segments
  EXPECT_FALSE(GoesBeyond(kStart + kSegment - 1000));
}

TEST_F(RecoveryEndTest, RecordThatContinuesBeyond) {
  PutRecord(kEnd - 10000, 20000);
  EXPECT_TRUE(GoesBeyond(kEnd - 10000));
  PutRecord(kStart + 1000, 3U << 20);
  EXPECT_TRUE(GoesBeyond(kStart + 1000));
  PutRecord(kEnd - 1000, 2000);  // begins on the last page
  EXPECT_TRUE(GoesBeyond(kEnd - 1000));
  PutRecord(kEnd - 8, 100);  // only its first eight bytes are archived
  EXPECT_TRUE(GoesBeyond(kEnd - 8));
}

// Exact to the byte: each page has a header, and the first of a segment a longer one.
TEST_F(RecoveryEndTest, ExactLengths) {
  const std::uint64_t at = kEnd - kBlock - 1000;
  PutRecord(at, 1000 + kBlock - 24);
  EXPECT_FALSE(GoesBeyond(at));
  PutRecord(at, 1000 + kBlock - 24 + 1);
  EXPECT_TRUE(GoesBeyond(at));
  const std::uint64_t first = kStart + kSegment - 1000;
  const std::uint64_t end = kStart + kSegment + kBlock;
  PutRecord(first, 1000 + kBlock - 40);
  EXPECT_FALSE(GoesBeyond(first, end));
  PutRecord(first, 1000 + kBlock - 40 + 1);
  EXPECT_TRUE(GoesBeyond(first, end));
}

TEST_F(RecoveryEndTest, PositionAtTheStartOfAPage) {
  PutRecord(kStart + kBlock + 24, 3U << 20);
  EXPECT_TRUE(GoesBeyond(kStart + kBlock));
  PutRecord(kStart + kSegment + 40, 3U << 20);
  EXPECT_TRUE(GoesBeyond(kStart + kSegment));
}

TEST_F(RecoveryEndTest, RecordThatRefersToWhatComesLater) {
  PutRecord(kEnd - 10000, 20000);
  Put(kEnd - 10000 + 8, kEnd - 10000);
  EXPECT_FALSE(GoesBeyond(kEnd - 10000));
}

TEST_F(RecoveryEndTest, PageThatDoesNotContinueIt) {
  PutRecord(kEnd - 10000, 20000);
  const std::uint64_t page = kEnd - kBlock;
  Put<std::uint32_t>(page + 16, 17);
  EXPECT_FALSE(GoesBeyond(kEnd - 10000));
  PutRecord(kEnd - 10000, 20000);
  Put(page + 8, page - kSegment);  // an old page of a recycled file
  EXPECT_FALSE(GoesBeyond(kEnd - 10000));
}

// No record begins there. The length of such a record would span two pages.
TEST_F(RecoveryEndTest, PositionThatNoRecordHas) {
  for (const std::uint64_t off : {1U, 2U, 4U, 7U}) {
    EXPECT_FALSE(GoesBeyond(kEnd - kBlock - off));
    EXPECT_FALSE(GoesBeyond(kStart + 1000 + off));
  }
}

}  // namespace
}  // namespace veza
