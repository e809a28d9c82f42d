#include "core/postgres/lsn.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

constexpr std::uint64_t kMiB = 1U << 20;
constexpr std::uint64_t kSegmentSizes[] = {kMiB, 16 * kMiB, 64 * kMiB, 1024 * kMiB};

TEST(Lsn, PrintsAndReadsAsPgLsnDoes) {
  EXPECT_EQ(FormatLsn(Lsn{0}), "0/0");
  EXPECT_EQ(FormatLsn(Lsn{0x16B374D848}), "16/B374D848");
  EXPECT_EQ(FormatLsn(Lsn{~std::uint64_t{0}}), "FFFFFFFF/FFFFFFFF");
  EXPECT_EQ(ParseLsn("16/b374d848").value().value, 0x16B374D848U);
  EXPECT_EQ(ParseLsn("00000016/0000000A").value().value, 0x160000000AU);
}

TEST(Lsn, RefusesOtherText) {
  for (const char* text : {"", "/", "1/", "/1", "1", "1/2/3", "G/1", "1/-1", "-1/1", " 1/1", "1/1 ",
                           "0x1/1", "123456789/0", "0/123456789", "1 /1"}) {
    const auto lsn = ParseLsn(text);
    EXPECT_ERROR(lsn, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(lsn.error().hint.empty()) << text;
  }
}

TEST(Lsn, TheFourKindsOfWalFiles) {
  const auto segment = ParseWalFileName("0000000200000016000000B3");
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->kind, WalFileKind::kSegment);
  EXPECT_EQ(segment->timeline, 2U);
  EXPECT_EQ(segment->segment_name, "0000000200000016000000B3");

  const auto partial = ParseWalFileName("0000000200000016000000B3.partial");
  ASSERT_TRUE(partial);
  EXPECT_EQ(partial->kind, WalFileKind::kPartial);
  EXPECT_EQ(partial->segment_name, "0000000200000016000000B3");

  const auto backup = ParseWalFileName("0000000200000016000000B3.0074D848.backup");
  ASSERT_TRUE(backup);
  EXPECT_EQ(backup->kind, WalFileKind::kBackupHistory);
  EXPECT_EQ(backup->segment_name, "0000000200000016000000B3");

  const auto history = ParseWalFileName("0000000A.history");
  ASSERT_TRUE(history);
  EXPECT_EQ(history->kind, WalFileKind::kTimelineHistory);
  EXPECT_EQ(history->timeline, 10U);
  EXPECT_EQ(history->segment_name, "");
}

TEST(Lsn, OtherNamesAreNotWalFiles) {
  for (const char* name :
       {"", "0000000200000016000000B", "0000000200000016000000b3", "0000000200000016000000B3x",
        "0000000200000016000000B3.", "0000000200000016000000B3.Partial",
        "0000000200000016000000B3.partial.gz", "0000000200000016000000B3.0074D84.backup",
        "0000000200000016000000B3.0074D84g.backup", "0000000200000016000000B3.backup",
        "0000000200000016000000B3.0074D848.backup2", "000000a.history", "0000000a.history",
        "0000000A.histor", "00000000A.history", "../00000200000016000000B", "RECOVERYXLOG",
        "0000000200000016/00000B3"}) {
    EXPECT_FALSE(ParseWalFileName(name)) << name;
  }
}

// Names known from xlog_internal.h, XLogFileName, with 256 segments of 16 MiB for each log.
TEST(Lsn, NamesSegmentsAsTheServerDoes) {
  EXPECT_EQ(SegmentName(1, 0, 16 * kMiB), "000000010000000000000000");
  EXPECT_EQ(SegmentName(1, 255, 16 * kMiB), "0000000100000000000000FF");
  EXPECT_EQ(SegmentName(1, 256, 16 * kMiB), "000000010000000100000000");
  EXPECT_EQ(SegmentName(0xFFFFFFFF, 0x16B3, 16 * kMiB), "FFFFFFFF00000016000000B3");
  EXPECT_EQ(SegmentName(1, 4095, kMiB), "000000010000000000000FFF");
  EXPECT_EQ(SegmentName(1, 4, 1024 * kMiB), "000000010000000100000000");
  EXPECT_EQ(TimelineHistoryName(0x1F), "0000001F.history");
}

TEST(Lsn, NumbersAndNamesOfSegmentsAreInverse) {
  for (const std::uint64_t size : kSegmentSizes) {
    for (const SegmentNumber number : {0U, 1U, 3U, 4U, 255U, 256U, 4095U, 4096U, 123456789U}) {
      EXPECT_EQ(SegmentNumberOf(SegmentName(7, number, size), size), number) << size;
    }
  }
}

TEST(Lsn, TheSegmentOfAnLsnAndTheOneBefore) {
  const std::uint64_t size = 16 * kMiB;
  EXPECT_EQ(SegmentOf(Lsn{3 * size}, size), 3U);
  EXPECT_EQ(SegmentOf(Lsn{3 * size - 1}, size), 2U);
  // A backup that ends exactly at a boundary does not need the segment that begins there.
  EXPECT_EQ(SegmentBefore(Lsn{3 * size}, size), 2U);
  EXPECT_EQ(SegmentBefore(Lsn{3 * size + 1}, size), 3U);
}

}  // namespace
}  // namespace veza
