#include "core/repository/pack.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/codec/codec_fixtures.h"
#include "core/codec/frame_reader.h"
#include "core/test_files.h"

namespace veza {
namespace {

constexpr const char* kName = "backup/20261122-020000F/pack/00000007";

class PackTest : public testing::TestWithParam<Cipher> {
 protected:
  PackBuilder Builder() { return {{7, kName, "node-a", kTestTime}, policy_, SystemRandom()}; }

  // The frames of a pack, opened as a reader of the whole pack does.
  Result<std::vector<Bytes>> ReadAll(ByteView content, const std::string& name = kName) {
    std::vector<Bytes> frames;
    FrameReader reader(policy_, ObjectKind::kPack, name);
    RETURN_IF_ERROR(reader.Feed(content,
                                [&](std::uint64_t number, std::uint64_t, const ObjectOpener& opener,
                                    ByteView frame) -> Status {
                                  EXPECT_EQ(number, frames.size());
                                  RETURN_IF_ERROR(
                                      opener.Open(number, frame, frames.emplace_back()));
                                  return Ok();
                                }));
    RETURN_IF_ERROR(reader.Finish());
    return frames;
  }

  SealPolicy policy_ = TestPolicy(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Ciphers, PackTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(PackTest, EveryExtentIsReadAsItWasWritten) {
  PackBuilder builder = Builder();
  const std::vector<Bytes> extents = {NoiseBytes(1, 1), NoiseBytes(8192, 2),
                                      NoiseBytes(kExtentSize, 3), NoiseBytes(100, 4)};
  EXPECT_TRUE(builder.empty());
  for (const Bytes& extent : extents) {
    ASSERT_OK(builder.Fill(builder.Reserve(extent.size()), kFrameStored, extent));
  }
  EXPECT_FALSE(builder.empty());
  EXPECT_FALSE(builder.full());
  ASSERT_OK(builder.Close());
  const auto read = ReadAll(builder.content());
  ASSERT_OK(read);
  EXPECT_EQ(*read, extents);

  const PackRecord record = builder.record();
  EXPECT_EQ(record.number, 7U);
  EXPECT_EQ(record.size, builder.content().size());
  EXPECT_EQ(record.frames, extents.size());
  EXPECT_TRUE(std::equal(record.header.begin(), record.header.end(), builder.content().begin()));
}

// The manifest's record is enough to read one frame by a ranged read.
TEST_P(PackTest, OneExtentCanBeOpenedAlone) {
  PackBuilder builder = Builder();
  const Bytes first = NoiseBytes(5000, 1);
  const Bytes second = NoiseBytes(7000, 2);
  ASSERT_OK(builder.Fill(builder.Reserve(first.size()), 0, first));
  const PackBuilder::Place place = builder.Reserve(second.size());
  ASSERT_OK(builder.Fill(place, kFrameStored, second));
  ASSERT_OK(builder.Close());

  const auto opener =
      ObjectOpener::Create(policy_, ObjectKind::kPack, kName, builder.record().header);
  ASSERT_OK(opener);
  const ByteView frame = builder.content().subspan(place.offset, place.stored);
  Bytes plain;
  const auto flags = opener->Open(place.frame, frame, plain);
  ASSERT_OK(flags);
  EXPECT_EQ(*flags, kFrameStored);
  EXPECT_EQ(plain, second);
  EXPECT_ERROR(opener->Open(place.frame - 1, frame, plain), ErrorCode::kDataCorrupted);
}

// FORMAT.md: a pack is closed when it passes 16 MiB, and is never larger than 32 MiB.
TEST_P(PackTest, IsFullPastTheTargetAndStaysSmallEnough) {
  PackBuilder builder = Builder();
  const Bytes extent = NoiseBytes(kExtentSize, 1);
  // The last extent begins just below the target size.
  const Bytes tuning = NoiseBytes(900'000, 2);
  ASSERT_OK(builder.Fill(builder.Reserve(tuning.size()), kFrameStored, tuning));
  std::size_t count = 0;
  for (; !builder.full(); ++count) {
    ASSERT_OK(builder.Fill(builder.Reserve(extent.size()), kFrameStored, extent));
  }
  EXPECT_EQ(count, 16U);
  ASSERT_OK(builder.Close());
  EXPECT_GE(builder.content().size(), kPackTarget);
  EXPECT_LE(builder.content().size(), 32U << 20);
  EXPECT_EQ(ReadAll(builder.content()).value().size(), count + 1);
}

TEST_P(PackTest, PlacesMayBeFilledByManyThreadsInAnyOrder) {
  PackBuilder builder = Builder();
  constexpr std::size_t kCount = 64;
  std::vector<PackBuilder::Place> places;
  std::vector<Bytes> extents;
  for (std::size_t i = 0; i < kCount; ++i) {
    extents.push_back(NoiseBytes(1000 + 37 * i, i));
    places.push_back(builder.Reserve(extents.back().size()));
  }
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = kCount - 1 - t; i < kCount; i -= 4) {
        EXPECT_OK(builder.Fill(places[i], kFrameStored, extents[i]));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  ASSERT_OK(builder.Close());
  EXPECT_EQ(ReadAll(builder.content()).value(), extents);
}

TEST_P(PackTest, DamageIsNoticed) {
  PackBuilder builder = Builder();
  const Bytes extent = NoiseBytes(3000, 1);
  ASSERT_OK(builder.Fill(builder.Reserve(extent.size()), 0, extent));
  ASSERT_OK(builder.Close());
  const Bytes good(builder.content().begin(), builder.content().end());
  ASSERT_OK(ReadAll(good));
  EXPECT_ERROR(ReadAll(good, "backup/20261122-020000F/pack/00000008"), ErrorCode::kDataCorrupted);
  for (std::size_t length = 0; length < good.size(); length += 7) {
    ASSERT_FALSE(ReadAll(ByteView(good).first(length))) << length;
  }
  for (std::size_t bit = 0; bit < good.size() * 8; bit += 101) {
    ASSERT_FALSE(ReadAll(FlipBit(good, bit))) << bit;
  }
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_ERROR(ReadAll(longer), ErrorCode::kDataCorrupted);
}

TEST(Pack, WithoutAKeyNothingIsSealed) {
  SealPolicy policy;
  policy.cipher = Cipher::kAes256Gcm;
  PackBuilder builder({1, kName, "node-a", kTestTime}, policy, SystemRandom());
  const Bytes extent = NoiseBytes(100);
  EXPECT_ERROR(builder.Fill(builder.Reserve(extent.size()), 0, extent),
               ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(builder.Close(), ErrorCode::kFailedPrecondition);
}

TEST(Pack, TheDigestOfAnExtentIsHalfOfItsSha256) {
  // FIPS 180-2, appendix B.1: "abc".
  EXPECT_EQ(ToHex(DigestExtent(AsBytes("abc"), DigestMethod::kSha256, nullptr)),
            "ba7816bf8f01cfea414140de5dae2223");
}

}  // namespace
}  // namespace veza
