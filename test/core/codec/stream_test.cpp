#include "core/codec/stream.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <fstream>

#include "core/codec/stream_builder.h"
#include "sanitizers.h"

namespace veza {
namespace {

constexpr const char* kName = "wal/7000000000000000001/00000001/00000000/000000010000000000000001";

class StreamWith : public testing::TestWithParam<Cipher> {
 protected:
  Bytes Seal(ByteView plain,
             ContentDescription description = ContentDescription::kSizeAndSha256) const {
    return SealStream(policy_, kName, plain, description);
  }
  Result<Bytes> Open(ByteView object, std::size_t piece = 64U << 10) const {
    return OpenStream(policy_, kName, object, piece);
  }
  // Makes a stream with content that StreamSealer would never write.
  Bytes Forge(const Bytes& compressed, std::optional<std::uint64_t> plain_size = {},
              std::optional<ContentDigest> plain_digest = {}) const {
    return FrameByFrame(policy_, ObjectKind::kStream, kName,
                        {.node = "db1",
                         .created = kTestTime,
                         .plain_size = plain_size,
                         .plain_digest = plain_digest},
                        CutStream(compressed))
        .Object();
  }

  SealPolicy policy_ = TestPolicy(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Ciphers, StreamWith, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(StreamWith, RoundTripOfAllSizes) {
  for (const std::size_t size : {0U, 1U, 262143U, 262144U, 262145U, 786432U, 1'000'000U}) {
    for (const Bytes& plain : {TestBytes(size), Bytes(size, 'x')}) {
      const Bytes object = Seal(plain);
      for (const std::size_t piece : {1U << 30, 16384U, 262144U}) {
        const Result<Bytes> content = Open(object, piece);
        ASSERT_OK(content);
        EXPECT_TRUE(*content == plain) << size;
      }
    }
  }
}

// Compression makes random bytes a little longer, so one of these sizes fills the last frame
// exactly. For every size, the frames before the last are full.
TEST_P(StreamWith, RoundTripAroundAFullFrame) {
  bool exact = false;
  const Bytes random = TestBytes(kStreamFramePlain);
  for (std::size_t size = kStreamFramePlain - 40; size <= kStreamFramePlain; ++size) {
    const Bytes object = Seal(ByteView(random).first(size));
    const Result<Bytes> content = Open(object);
    ASSERT_OK(content);
    EXPECT_TRUE(*content == Bytes(random.begin(), random.begin() + size)) << size;

    std::vector<std::size_t> frames;
    FrameReader reader(policy_, ObjectKind::kStream, kName);
    ASSERT_OK(reader.Feed(object, [&](auto&&, auto&&, auto&&, ByteView frame) {
      frames.push_back(frame.size());
      return Ok();
    }));
    const std::size_t full = SealedFrameSize(GetParam(), kStreamFramePlain);
    ASSERT_FALSE(frames.empty());
    EXPECT_LE(frames.size(), 2U);
    EXPECT_TRUE(frames.size() == 1 || frames[0] == full);
    exact = exact || (frames.size() == 1 && frames[0] == full);
  }
  EXPECT_TRUE(exact);
}

TEST_P(StreamWith, OneByteAtATime) {
  const Bytes plain = TestBytes(300'000);
  StreamSealer sealer(policy_, {kName, 3, testing::TempDir(), 1U << 20}, SystemRandom());
  for (const std::uint8_t& byte : plain) {
    ASSERT_OK(sealer.Append({&byte, 1}));
  }
  const Result<SealedStream> sealed = sealer.Finish("db1", kTestTime);
  ASSERT_OK(sealed);
  const Result<Bytes> content = Open(ReadAll(*sealed->body), 1);
  ASSERT_OK(content);
  EXPECT_TRUE(*content == plain);
}

TEST_P(StreamWith, DescribesItsContentWhenAsked) {
  const Bytes plain = TestBytes(5000);
  for (const auto description : {ContentDescription::kNone, ContentDescription::kSizeAndSha256,
                                 ContentDescription::kSizeAndGmac}) {
    if (description == ContentDescription::kSizeAndGmac && policy_.key == nullptr) {
      continue;
    }
    StreamSealer sealer(policy_, {kName, 3, testing::TempDir(), 1U << 20, description},
                        SystemRandom());
    ASSERT_OK(sealer.Append(plain));
    const Result<SealedStream> sealed = sealer.Finish("db1", kTestTime);
    ASSERT_OK(sealed);
    EXPECT_EQ(sealed->plain_size, 5000U);

    StreamOpener opener(policy_, kName, [](ByteView) { return Ok(); });
    ASSERT_OK(opener.Feed(ReadAll(*sealed->body)));
    ASSERT_OK(opener.Finish());
    ASSERT_TRUE(opener.attributes().has_value());
    EXPECT_EQ(opener.attributes()->node, "db1");
    EXPECT_EQ(opener.attributes()->created, kTestTime);
    if (description == ContentDescription::kNone) {
      EXPECT_EQ(opener.attributes()->plain_size, std::nullopt);
      EXPECT_EQ(opener.attributes()->plain_digest, std::nullopt);
      EXPECT_EQ(sealed->plain_digest, std::nullopt);
    } else {
      EXPECT_EQ(opener.attributes()->plain_size, 5000U);
      const DigestMethod method = description == ContentDescription::kSizeAndGmac
                                      ? DigestMethod::kGmac
                                      : DigestMethod::kSha256;
      const ContentDigest digest = DigestContent(method, policy_.key.get(), plain);
      EXPECT_EQ(opener.attributes()->plain_digest, digest);
      EXPECT_EQ(sealed->plain_digest, digest);
    }
  }
}

TEST_P(StreamWith, SpillsAndStaysTheSame) {
  const Bytes plain = TestBytes(2'000'000);
  StreamSealer sealer(policy_, {kName, 3, testing::TempDir(), 100'000}, SystemRandom());
  ASSERT_OK(sealer.Append(plain));
  const Result<SealedStream> sealed = sealer.Finish("db1", kTestTime);
  ASSERT_OK(sealed);
  EXPECT_TRUE(static_cast<SpillBody*>(sealed->body)->spilled());
  // A retried upload reads the body again.
  EXPECT_TRUE(ReadAll(*sealed->body) == ReadAll(*sealed->body));
  const Result<Bytes> content = Open(ReadAll(*sealed->body));
  ASSERT_OK(content);
  EXPECT_TRUE(*content == plain);
}

TEST_P(StreamWith, EveryBitOfAnObjectCounts) {
  const Bytes object = Seal(TestBytes(37));
  ASSERT_OK(Open(object));
  for (std::size_t bit = 0; bit < object.size() * 8; ++bit) {
    EXPECT_FALSE(Open(FlipBit(object, bit)).has_value()) << bit;
  }
}

TEST_P(StreamWith, RefusesEveryTruncation) {
  const Bytes object = Seal(TestBytes(37));
  for (std::size_t length = 0; length < object.size(); ++length) {
    EXPECT_ERROR(Open(ByteView(object).first(length)), ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(Open(Concatenate({object, Bytes(1)})), ErrorCode::kDataCorrupted);
}

TEST_P(StreamWith, RefusesFramesInAnotherOrder) {
  const FrameByFrame intact(policy_, ObjectKind::kStream, kName,
                            {.node = "db1", .created = kTestTime},
                            CutStream(Compressed(TestBytes(900'000))));
  ASSERT_EQ(intact.frames.size(), 4U);
  ASSERT_OK(Open(intact.Object()));
  FrameByFrame swapped = intact;
  std::swap(swapped.frames[0], swapped.frames[1]);
  EXPECT_ERROR(Open(swapped.Object()), ErrorCode::kDataCorrupted);
  FrameByFrame dropped = intact;
  dropped.frames.erase(dropped.frames.begin() + 1);
  EXPECT_ERROR(Open(dropped.Object()), ErrorCode::kDataCorrupted);
  FrameByFrame repeated = intact;
  repeated.frames.insert(repeated.frames.begin(), intact.frames[0]);
  EXPECT_ERROR(Open(repeated.Object()), ErrorCode::kDataCorrupted);
}

TEST_P(StreamWith, RefusesToBeRenamed) {
  const Bytes object = Seal(TestBytes(37));
  const std::string other = "wal/7000000000000000001/00000001/00000000/000000010000000000000002";
  const Result<Bytes> content = OpenStream(policy_, other, object);
  EXPECT_ERROR(content, ErrorCode::kDataCorrupted);
  EXPECT_NE(content.error().message.find(other), std::string::npos);
}

TEST_P(StreamWith, RefusesContentOtherThanDescribed) {
  const Bytes plain = TestBytes(1000);
  const Bytes compressed = Compressed(plain);
  EXPECT_OK(Open(Forge(compressed)));
  EXPECT_ERROR(Open(Forge(compressed, 999)), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Open(Forge(compressed, 1001)), ErrorCode::kDataCorrupted);
  for (const DigestMethod method : {DigestMethod::kSha256, DigestMethod::kGmac}) {
    const DataKey stranger = TestKey("stranger");
    const DataKey* const key = policy_.key != nullptr ? policy_.key.get() : &stranger;
    const auto digest = [&](ByteView content) { return DigestContent(method, key, content); };
    // Without a key nobody can compute a keyed digest.
    if (method == DigestMethod::kSha256 || policy_.key != nullptr) {
      EXPECT_OK(Open(Forge(compressed, 1000, digest(plain))));
    } else {
      EXPECT_ERROR(Open(Forge(compressed, 1000, digest(plain))), ErrorCode::kDataCorrupted);
    }
    EXPECT_ERROR(Open(Forge(compressed, 1000, digest({}))), ErrorCode::kDataCorrupted);
  }
}

TEST_P(StreamWith, RefusesContentThatIsNotOneFrame) {
  const Bytes compressed = Compressed(TestBytes(1000));
  EXPECT_ERROR(Open(Forge({})), ErrorCode::kDataCorrupted);
  for (std::size_t length = 1; length < compressed.size(); length += 7) {
    EXPECT_ERROR(Open(Forge(Bytes(compressed.begin(), compressed.begin() + length))),
                 ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(Open(Forge(Concatenate({compressed, compressed}))), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Open(Forge(Concatenate({compressed, Bytes(1)}))), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Open(Forge(TestBytes(1000))), ErrorCode::kDataCorrupted);
}

TEST_P(StreamWith, RefusesAShortFrameBeforeTheLast) {
  const Bytes compressed = Compressed(TestBytes(1000));
  const FrameByFrame object(policy_, ObjectKind::kStream, kName,
                            {.node = "db1", .created = kTestTime},
                            {Bytes(compressed.begin(), compressed.begin() + 500),
                             Bytes(compressed.begin() + 500, compressed.end())});
  EXPECT_ERROR(Open(object.Object()), ErrorCode::kDataCorrupted);
}

// A few KiB that decompress to 32 MiB of zeros, and claim 100 bytes. No more than 100 bytes are
// delivered.
TEST_P(StreamWith, StopsADecompressionBombAtItsClaimedSize) {
  const Bytes bomb = Forge(Compressed(Bytes(32U << 20)), 100);
  EXPECT_LT(bomb.size(), 16U << 10);
  std::uint64_t delivered = 0;
  StreamOpener opener(policy_, kName, [&](ByteView plain) {
    delivered += plain.size();
    return Ok();
  });
  EXPECT_ERROR(opener.Feed(bomb), ErrorCode::kDataCorrupted);
  EXPECT_LE(delivered, 100U);
}

// Content must not decide how much memory its reader needs.
TEST_P(StreamWith, RefusesAWindowBeyondTheLimit) {
  for (const int window_log : {23, 24, 27}) {
    const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(),
                                                                       ZSTD_freeCCtx);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
    Bytes compressed(1000);
    const Bytes plain(100);
    ZSTD_inBuffer in{plain.data(), plain.size(), 0};
    ZSTD_outBuffer out{compressed.data(), compressed.size(), 0};
    ASSERT_EQ(ZSTD_isError(ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_flush)), 0U);
    ASSERT_EQ(ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_end), 0U);
    compressed.resize(out.pos);
    if (window_log == 23) {
      EXPECT_OK(Open(Forge(compressed)));
    } else {
      EXPECT_ERROR(Open(Forge(compressed)), ErrorCode::kDataCorrupted);
    }
  }
}

TEST_P(StreamWith, ReturnsTheSinksError) {
  StreamOpener opener(policy_, kName,
                      [](ByteView) -> Status { return MakeError(ErrorCode::kNoSpace, "full"); });
  EXPECT_ERROR(opener.Feed(Seal(Bytes(10))), ErrorCode::kNoSpace);
  EXPECT_ERROR(opener.Finish(), ErrorCode::kDataCorrupted);
}

TEST_P(StreamWith, NothingFollowsTheEnd) {
  StreamSealer sealer(policy_, {kName, 3, testing::TempDir(), 1U << 20}, SystemRandom());
  ASSERT_OK(sealer.Finish("db1", kTestTime));
  EXPECT_ERROR(sealer.Append(Bytes(1)), ErrorCode::kInternal);
  EXPECT_ERROR(sealer.Finish("db1", kTestTime), ErrorCode::kInternal);
}

// Levels above 19 ask zstd for windows that readers refuse.
TEST(Stream, ReadersTakeEveryLevel) {
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  const Bytes plain = TestBytes(10'000);
  for (const int level : {-5, 0, 1, 19, 20}) {
    const Bytes object =
        SealStream(policy, kName, plain, ContentDescription::kNone, SystemRandom(), level);
    const Result<Bytes> content = OpenStream(policy, kName, object);
    ASSERT_OK(content);
    EXPECT_TRUE(*content == plain);
  }
}

TEST(Stream, AFullDiskIsAnError) {
  StreamSealer sealer(TestPolicy(Cipher::kAes256Gcm), {kName, 3, "/nonexistent", 0},
                      SystemRandom());
  Status status = sealer.Append(TestBytes(1'000'000));
  EXPECT_ERROR(status, ErrorCode::kNotFound);
}

TEST(Stream, NeverWritesWhenCipherAndKeyDoNotGoTogether) {
  StreamSealer sealer(SealPolicy{Cipher::kAes256Gcm, nullptr},
                      {kName, 3, testing::TempDir(), 1U << 20}, SystemRandom());
  EXPECT_OK(sealer.Append(Bytes(10)));
  EXPECT_ERROR(sealer.Finish("db1", kTestTime), ErrorCode::kFailedPrecondition);
}

#if defined(VEZA_ADDRESS_SANITIZER) || defined(VEZA_THREAD_SANITIZER)
constexpr bool kMemoryIsMeasurable = false;  // most memory is the sanitizer's
#else
constexpr bool kMemoryIsMeasurable = true;
#endif

std::size_t StatusKib(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) {
      return std::stoul(line.substr(field.size() + 1));
    }
  }
  return 0;
}

// A WAL segment of the largest size, a tenth of it incompressible.
TEST(Stream, MemoryIsBoundedForEverySize) {
  constexpr std::size_t kPieces = kMemoryIsMeasurable ? 1024 : 64;
  std::ofstream("/proc/self/clear_refs") << "5";  // resets the peak
  const std::size_t before = StatusKib("VmRSS");
  const SealPolicy policy = TestPolicy(Cipher::kAes256Gcm);
  Bytes piece(1U << 20);
  StreamSealer sealer(policy, {kName, 1, testing::TempDir(), 4U << 20}, SystemRandom());
  std::uint64_t state = 88172645463325252;
  for (std::size_t i = 0; i < kPieces; ++i) {
    for (std::size_t at = 0; at < piece.size() / 10; at += 8) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      StoreLittleEndian(piece.data() + at, state);
    }
    ASSERT_OK(sealer.Append(piece));
  }
  const Result<SealedStream> sealed = sealer.Finish("db1", kTestTime);
  ASSERT_OK(sealed);
  EXPECT_EQ(sealed->plain_size, kPieces << 20);
  EXPECT_GT(sealed->body->size(), kPieces << 16);

  std::uint64_t delivered = 0;
  StreamOpener opener(policy, kName, [&](ByteView plain) {
    delivered += plain.size();
    return Ok();
  });
  Bytes buffer(64U << 10);
  ASSERT_OK(sealed->body->Rewind());
  for (;;) {
    const Result<std::size_t> got = sealed->body->Read(buffer);
    ASSERT_OK(got);
    if (*got == 0) {
      break;
    }
    ASSERT_OK(opener.Feed(ByteView(buffer).first(*got)));
  }
  ASSERT_OK(opener.Finish());
  EXPECT_EQ(delivered, kPieces << 20);
  if (kMemoryIsMeasurable) {
    EXPECT_LT(StatusKib("VmHWM") - before, 24U << 10);
  }
}

}  // namespace
}  // namespace veza
