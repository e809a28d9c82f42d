#include "core/codec/zstd.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

TEST(Zstd, RoundTripWithReusedContextsAndBuffers) {
  Compressor compressor(3);
  Decompressor decompressor;
  Bytes compressed;
  for (const std::size_t size : {1U << 20, 0U, 1U, 8192U, 100'000U}) {
    compressor.set_level(size == 8192 ? 19 : 1);
    for (const Bytes& plain : {TestBytes(size), Bytes(size, 'x')}) {
      ASSERT_OK(compressor.Compress(plain, compressed));
      Bytes back(size);
      ASSERT_OK(decompressor.Decompress(compressed, back));
      EXPECT_EQ(back, plain);
    }
  }
  EXPECT_LT(compressed.size(), 100U);
}

TEST(Zstd, RefusesAnotherSizeThanExpected) {
  Compressor compressor(3);
  Decompressor decompressor;
  Bytes compressed;
  // The second is a bomb: some kilobytes that become far more than there is room for.
  for (const std::size_t size : {1000U, 16U << 20}) {
    ASSERT_OK(compressor.Compress(Bytes(size, 0), compressed));
    for (const std::size_t room : {0U, 999U, 1001U}) {
      Bytes back(room);
      EXPECT_ERROR(decompressor.Decompress(compressed, back), ErrorCode::kDataCorrupted);
    }
  }
}

TEST(Zstd, RefusesWhatIsNotExactlyOneFrame) {
  Compressor compressor(3);
  Decompressor decompressor;
  Bytes one;
  ASSERT_OK(compressor.Compress(Bytes(500, 7), one));
  Bytes back(500);
  for (std::size_t length = 0; length < one.size(); ++length) {
    EXPECT_ERROR(decompressor.Decompress(ByteView(one).first(length), back),
                 ErrorCode::kDataCorrupted);
  }
  Bytes room(1000);
  EXPECT_ERROR(decompressor.Decompress(Concatenate({one, one}), room), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(decompressor.Decompress(AsBytes("not zstd at all, but long enough"), back),
               ErrorCode::kDataCorrupted);
  // Damage must not spoil the context for what comes next.
  EXPECT_OK(decompressor.Decompress(one, back));
}

}  // namespace
}  // namespace veza
