#include "core/codec/varint.h"

#include <gtest/gtest.h>

#include <limits>

namespace veza {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST(Varint, ReadsWhatWasWritten) {
  Bytes bytes;
  VarintWriter writer;
  std::vector<std::uint64_t> numbers = {0, 1, 127, 128, 16383, 16384, kMost - 1, kMost};
  for (unsigned bit = 0; bit < 64; ++bit) {
    numbers.push_back(std::uint64_t{1} << bit);
  }
  for (const std::uint64_t number : numbers) {
    PutVarint(bytes, number);
    writer.Put(number);
  }
  EXPECT_EQ(Bytes(writer.written().begin(), writer.written().end()), bytes);
  VarintReader reader(bytes);
  for (const std::uint64_t number : numbers) {
    EXPECT_EQ(reader.Take(), number);
  }
  EXPECT_TRUE(reader.AtEnd());
}

TEST(Varint, ZigZagGoesThereAndBack) {
  for (const std::int64_t number :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1},
        std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(FromZigZag(ZigZag(number)), number);
  }
  EXPECT_EQ(ZigZag(-1), 1U);
  EXPECT_EQ(ZigZag(1), 2U);
}

TEST(Varint, RefusesWhatHasAnotherForm) {
  for (const Bytes& bytes :
       {Bytes(), Bytes{0x80}, Bytes{0x80, 0x00}, Bytes{0xFF, 0x80, 0x00}, Bytes(10, 0xFF),
        Bytes{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02}, Bytes(11, 0x80)}) {
    VarintReader reader(bytes);
    EXPECT_EQ(reader.Take(), 0U);
    EXPECT_TRUE(reader.failed());
    EXPECT_FALSE(reader.AtEnd());
    EXPECT_EQ(reader.Take(), 0U);
  }
}

TEST(Varint, BelievesNoCountThatDoesNotFit) {
  const Bytes bytes{2, 1, 1, 1, 1};
  VarintReader two(bytes);
  EXPECT_EQ(two.TakeCount(2), 2U);
  VarintReader three(bytes);
  EXPECT_EQ(three.TakeCount(3), 0U);
  EXPECT_TRUE(three.failed());
  VarintReader most(bytes);
  EXPECT_EQ(most.Take(1), 0U);
  EXPECT_TRUE(most.failed());
}

}  // namespace
}  // namespace veza
