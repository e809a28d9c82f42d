#include "core/codec/zstd.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <memory>
#include <string>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

TEST(Zstd, RoundTripWithReusedContextsAndBuffers) {
  Compressor fast(1);
  Compressor thorough(19);
  Decompressor decompressor;
  Bytes compressed;
  for (const std::size_t size : {1U << 20, 0U, 1U, 8192U, 100'000U}) {
    Compressor& compressor = size == 8192 ? thorough : fast;
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
  // The second size is a decompression bomb: a few kilobytes that become far more than fits.
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
  // Damaged input must not spoil the context for the next input.
  EXPECT_OK(decompressor.Decompress(one, back));
}

// Makes text whose words repeat at all distances, as in pages and WAL.
Bytes TestText(std::size_t size) {
  Bytes text;
  std::uint32_t state = 1;
  while (text.size() < size) {
    state = state * 1664525 + 1013904223;
    const std::string word = fmt::format("{} ", (state >> 8) % 3000 * 7919);
    text.insert(text.end(), word.begin(), word.end());
  }
  text.resize(size);
  return text;
}

TEST(Zstd, ItsDefaultLevelHasTablesThatFitIntoACache) {
  const Bytes plain = TestText(4U << 20);
  const auto zstd = [&](int table_log) {
    const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(),
                                                                       &ZSTD_freeCCtx);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 3);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_hashLog, table_log);  // 0: zstd's own
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_chainLog, table_log);
    Bytes out(ZSTD_compressBound(plain.size()));
    out.resize(ZSTD_compress2(context.get(), out.data(), out.size(), plain.data(), plain.size()));
    return out;
  };
  Compressor compressor(3);
  Bytes compressed;
  ASSERT_OK(compressor.Compress(plain, compressed));
  EXPECT_EQ(compressed, zstd(15));
  EXPECT_LT(static_cast<double>(compressed.size()), 1.05 * static_cast<double>(zstd(0).size()));
}

}  // namespace
}  // namespace veza
