#include "core/codec/seal.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

constexpr const char* kName = "backup/20261122-020000F/pack/00000001";

ObjectSealer PackSealer(Cipher cipher) {
  return ObjectSealer(TestPolicy(cipher), ObjectKind::kPack, kName, SystemRandom());
}

Result<ObjectOpener> OpenHeader(const SealPolicy& policy, ByteView header,
                                const std::string& name = kName,
                                ObjectKind kind = ObjectKind::kPack) {
  return ObjectOpener::Create(policy, kind, name, header);
}

class SealWith : public testing::TestWithParam<Cipher> {
 protected:
  SealPolicy policy_ = TestPolicy(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Ciphers, SealWith, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST(Cipher, HasTheNameOfTheSetting) {
  EXPECT_STREQ(CipherName(Cipher::kNone), "none");
  EXPECT_STREQ(CipherName(Cipher::kAes256Gcm), "aes-256-gcm");
  EXPECT_STREQ(CipherName(Cipher::kAes256Cbc), "aes-256-cbc");
}

TEST_P(SealWith, RoundTripOfAllSizes) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  Bytes opened;
  std::uint64_t number = 0;
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 31U, 32U, 8192U, 262143U, 262144U, 262145U,
                                 524288U, 1048575U, 1048576U}) {
    const Bytes plain = TestBytes(size);
    for (const std::uint32_t flags : {0U, kFrameLast, kFrameStored, kFrameLast | kFrameStored}) {
      const Bytes frame = SealOne(sealer, number, flags, plain);
      const Result<std::uint32_t> result = opener->Open(number, frame, opened);
      ASSERT_OK(result);
      EXPECT_EQ(*result, flags);
      EXPECT_EQ(opened, plain) << size;
      number = 2 * number + 1;  // frame numbers that are far apart
    }
  }
}

TEST_P(SealWith, SizesAreThoseOfTheFormat) {
  const std::size_t overhead[] = {4 + 32, 4 + 16, 4 + 16 + 32};
  for (const std::size_t size : {0U, 1U, 15U, 16U, 262144U}) {
    const std::size_t padding = GetParam() == Cipher::kAes256Cbc ? 16 - size % 16 : 0;
    EXPECT_EQ(SealedFrameSize(GetParam(), size),
              size + overhead[static_cast<int>(GetParam())] + padding);
  }
}

TEST_P(SealWith, AttributesRoundTrip) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const ObjectAttributes cases[] = {
      {.node = "db1", .created = kTestTime},
      {.node = "",
       .created = kTestTime + std::chrono::microseconds(1),
       .plain_size = std::uint64_t{1} << 40,
       .plain_digest = DigestContent(DigestMethod::kSha256, nullptr, AsBytes("x"))},
      {.node = "\"quoted\"\n", .created = kTestTime, .plain_size = 0},
      {.node = "db1",
       .created = kTestTime,
       .plain_size = 1,
       .plain_digest = policy_.key == nullptr
                           ? std::optional<ContentDigest>()
                           : DigestContent(DigestMethod::kGmac, policy_.key.get(), AsBytes("x"))},
  };
  for (const ObjectAttributes& attributes : cases) {
    const Result<Bytes> head = sealer.Head(attributes);
    ASSERT_OK(head);
    const ByteView bytes(*head);
    const Result<ObjectOpener> opener = OpenHeader(policy_, bytes.first(kObjectHeaderSize));
    ASSERT_OK(opener);
    const Result<ObjectAttributes> back = opener->OpenAttributes(bytes.subspan(kObjectHeaderSize));
    ASSERT_OK(back);
    EXPECT_EQ(back->node, attributes.node);
    EXPECT_EQ(back->created, attributes.created);
    EXPECT_EQ(back->plain_size, attributes.plain_size);
    EXPECT_EQ(back->plain_digest, attributes.plain_digest);
  }
}

TEST_P(SealWith, EveryBitOfAnObjectCounts) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Bytes object =
      Concatenate({sealer.header(), SealOne(sealer, 5, kFrameStored, TestBytes(37))});
  for (std::size_t bit = 0; bit < object.size() * 8; ++bit) {
    const Bytes flipped = FlipBit(object, bit);
    const ByteView bytes(flipped);
    const Result<ObjectOpener> opener = OpenHeader(policy_, bytes.first(kObjectHeaderSize));
    if (opener) {
      Bytes opened;
      EXPECT_ERROR(opener->Open(5, bytes.subspan(kObjectHeaderSize), opened),
                   ErrorCode::kDataCorrupted);
      EXPECT_TRUE(opened.empty());
    } else {
      EXPECT_LT(bit, kObjectHeaderSize * 8);
    }
  }
}

TEST_P(SealWith, RefusesATruncatedFrame) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Bytes frame = SealOne(sealer, 0, 0, TestBytes(64));
  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  Bytes opened;
  for (std::size_t length = 0; length < frame.size(); ++length) {
    EXPECT_ERROR(opener->Open(0, ByteView(frame).first(length), opened), ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(opener->Open(0, Concatenate({frame, Bytes(1)}), opened), ErrorCode::kDataCorrupted);
}

// The length is authenticated. A shorter body with a matching word is therefore refused because of
// its tag.
TEST_P(SealWith, RefusesAFrameCutWithItsWord) {
  const ObjectSealer sealer = PackSealer(GetParam());
  Bytes frame = SealOne(sealer, 0, 0, TestBytes(64));
  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  Bytes opened;
  while (frame.size() > 4) {
    frame.pop_back();
    StoreLittleEndian(frame.data(), static_cast<std::uint32_t>(frame.size() - 4));
    EXPECT_ERROR(opener->Open(0, frame, opened), ErrorCode::kDataCorrupted);
  }
}

TEST_P(SealWith, RefusesAnotherPlace) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const ObjectSealer other_sealer = PackSealer(GetParam());
  const Bytes frame = SealOne(sealer, 3, 0, TestBytes(100));
  Bytes opened;

  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  EXPECT_ERROR(opener->Open(4, frame, opened), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(opener->Open(kAttributesFrame, frame, opened), ErrorCode::kDataCorrupted);

  const Result<ObjectOpener> other_object = OpenHeader(policy_, other_sealer.header());
  ASSERT_OK(other_object);
  EXPECT_ERROR(other_object->Open(3, frame, opened), ErrorCode::kDataCorrupted);

  const Result<ObjectOpener> renamed =
      OpenHeader(policy_, sealer.header(), "backup/20261122-020000F/pack/00000002");
  ASSERT_OK(renamed);
  const Result<std::uint32_t> refused = renamed->Open(3, frame, opened);
  EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
  EXPECT_NE(refused.error().message.find("pack/00000002"), std::string::npos);

  EXPECT_OK(opener->Open(3, frame, opened));
}

TEST_P(SealWith, SeveralThreadsSealAndOpenOneObject) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      Bytes opened;
      for (std::uint64_t i = 0; i < 50; ++i) {
        const std::uint64_t number = i * 4 + thread;
        const Bytes plain = TestBytes(1000 + number, std::to_string(number));
        const Bytes frame = SealOne(sealer, number, 0, plain);
        EXPECT_OK(opener->Open(number, frame, opened));
        EXPECT_EQ(opened, plain);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_P(SealWith, NoTwoObjectsAreAlike) {
  const ObjectSealer one = PackSealer(GetParam());
  const ObjectSealer two = PackSealer(GetParam());
  EXPECT_NE(one.header(), two.header());
  EXPECT_NE(SealOne(one, 0, 0, Bytes(100)), SealOne(two, 0, 0, Bytes(100)));
}

TEST_P(SealWith, RefusesAWrongBufferAndUnknownFlags) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Bytes plain(10);
  Bytes out(sealer.FrameSize(10) + 1);
  EXPECT_ERROR(sealer.Seal(0, 0, plain, out), ErrorCode::kInternal);
  out.pop_back();
  EXPECT_ERROR(sealer.Seal(0, 1U << 29, plain, out), ErrorCode::kInternal);
  EXPECT_OK(sealer.Seal(0, 0, plain, out));
}

// Each refusal has the error code that tells the operator what to do.
TEST_P(SealWith, RefusesForeignHeaders) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const struct {
    std::size_t offset;
    std::uint8_t value;
    ErrorCode code;
  } cases[] = {
      {0, 'v', ErrorCode::kDataCorrupted},  {7, 0, ErrorCode::kDataCorrupted},
      {8, 2, ErrorCode::kUnsupported},      {8, 0, ErrorCode::kUnsupported},
      {9, 1, ErrorCode::kUnsupported},      {10, 0, ErrorCode::kUnsupported},
      {10, 3, ErrorCode::kUnsupported},     {10, 1, ErrorCode::kDataCorrupted},
      {11, 3, ErrorCode::kUnsupported},     {11, 255, ErrorCode::kUnsupported},
      {12, 0, ErrorCode::kUnsupported},     {12, 2, ErrorCode::kUnsupported},
      {13, 1, ErrorCode::kDataCorrupted},   {14, 1, ErrorCode::kDataCorrupted},
      {15, 255, ErrorCode::kDataCorrupted},
  };
  for (const auto& c : cases) {
    ObjectHeader header = sealer.header();
    header[c.offset] = c.value;
    EXPECT_ERROR(OpenHeader(policy_, header), c.code);
  }
  EXPECT_ERROR(OpenHeader(policy_, ByteView(sealer.header()).first(63)), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(OpenHeader(policy_, sealer.header(), kName, ObjectKind::kStream),
               ErrorCode::kDataCorrupted);
}

TEST(Seal, RefusesAnotherKey) {
  for (const Cipher cipher : {Cipher::kAes256Gcm, Cipher::kAes256Cbc}) {
    const ObjectSealer sealer = PackSealer(cipher);
    EXPECT_ERROR(OpenHeader(TestPolicy(cipher, "other"), sealer.header()), ErrorCode::kWrongKey);
    EXPECT_ERROR(OpenHeader(TestPolicy(Cipher::kNone), sealer.header()), ErrorCode::kWrongKey);
    // The policy's cipher is only for writing: a repository may contain objects of both ciphers.
    EXPECT_OK(OpenHeader(TestPolicy(Cipher::kAes256Gcm), sealer.header()));
    EXPECT_OK(OpenHeader(TestPolicy(Cipher::kAes256Cbc), sealer.header()));

    // A key with the same id and another secret.
    SealPolicy impostor = TestPolicy(cipher);
    impostor.key = std::make_shared<const DataKey>(TestKey().id(), std::array<std::uint8_t, 32>{});
    const Result<ObjectOpener> opener = OpenHeader(impostor, sealer.header());
    ASSERT_OK(opener);
    Bytes opened;
    EXPECT_ERROR(opener->Open(0, SealOne(sealer, 0, 0, Bytes(9)), opened),
                 ErrorCode::kDataCorrupted);
  }
}

TEST(Seal, RefusesAnUnencryptedObjectWhenEncryptionIsConfigured) {
  const ObjectSealer sealer = PackSealer(Cipher::kNone);
  for (const Cipher cipher : {Cipher::kAes256Gcm, Cipher::kAes256Cbc}) {
    EXPECT_ERROR(OpenHeader(TestPolicy(cipher), sealer.header()), ErrorCode::kPermissionDenied);
    EXPECT_ERROR(OpenHeader(SealPolicy{cipher, nullptr}, sealer.header()),
                 ErrorCode::kPermissionDenied);
  }
  SealPolicy key_but_none = TestPolicy(Cipher::kAes256Gcm);
  key_but_none.cipher = Cipher::kNone;
  EXPECT_ERROR(OpenHeader(key_but_none, sealer.header()), ErrorCode::kPermissionDenied);

  ObjectHeader with_key_id = sealer.header();
  with_key_id[20] = 1;
  EXPECT_ERROR(OpenHeader(TestPolicy(Cipher::kNone), with_key_id), ErrorCode::kDataCorrupted);
}

TEST(Seal, NeverWritesWhenCipherAndKeyDoNotGoTogether) {
  SealPolicy key_but_none = TestPolicy(Cipher::kAes256Gcm);
  key_but_none.cipher = Cipher::kNone;
  for (const SealPolicy& policy : {SealPolicy{Cipher::kAes256Gcm, nullptr},
                                   SealPolicy{Cipher::kAes256Cbc, nullptr}, key_but_none}) {
    const ObjectSealer sealer(policy, ObjectKind::kPack, kName, SystemRandom());
    Bytes out(sealer.FrameSize(1));
    EXPECT_ERROR(sealer.Seal(0, 0, Bytes(1), out), ErrorCode::kFailedPrecondition);
    EXPECT_EQ(out, Bytes(out.size()));
    EXPECT_ERROR(sealer.Head({}), ErrorCode::kFailedPrecondition);
  }
}

TEST_P(SealWith, RefusesImpossibleLengthsBeforeReading) {
  for (const ObjectKind kind : {ObjectKind::kStream, ObjectKind::kPack}) {
    const ObjectSealer sealer(policy_, kind, kName, SystemRandom());
    const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header(), kName, kind);
    ASSERT_OK(opener);
    const auto claim = [&](std::uint64_t number, std::uint32_t word) {
      std::uint8_t raw[4];
      StoreLittleEndian(raw, word);
      return opener->FrameSize(number, raw);
    };
    const bool pack = kind == ObjectKind::kPack;
    const std::size_t longest = sealer.FrameSize(pack ? kPackFramePlain : kStreamFramePlain);
    const auto word = static_cast<std::uint32_t>(longest - kFrameWordSize);
    EXPECT_EQ(claim(0, word).value(), longest);
    EXPECT_EQ(claim(0, word | kFrameLast).value(), longest);
    EXPECT_EQ(claim(0, word | kFrameStored).has_value(), pack);
    EXPECT_ERROR(claim(0, word + 16), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(claim(0, kFrameLengthMask), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(claim(0, 0), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(claim(0, word | 1U << 28), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(claim(0, word | 1U << 29), ErrorCode::kDataCorrupted);
    const auto head = static_cast<std::uint32_t>(sealer.FrameSize(kAttributesPlain) - 4);
    EXPECT_TRUE(claim(kAttributesFrame, head).has_value());
    EXPECT_ERROR(claim(kAttributesFrame, head + 16), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(claim(kAttributesFrame, head | kFrameLast), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(opener->FrameSize(0, Bytes(3)), ErrorCode::kDataCorrupted);
  }
}

// Authentic attributes that do not follow the format, as a writer with a bug would leave them.
TEST_P(SealWith, RefusesAttributesThatLackSomething) {
  const ObjectSealer sealer = PackSealer(GetParam());
  const Result<ObjectOpener> opener = OpenHeader(policy_, sealer.header());
  ASSERT_OK(opener);
  for (const char* text :
       {"", "[]", "{}", R"({"node":"n"})", R"({"node":"n","created":"yesterday"})",
        R"({"node":7,"created":"2026-11-22T02:00:00Z"})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_size":-1})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_size":"1"})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_sha256":"00"})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_sha256":null})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_gmac":"00"})",
        // As long as that of SHA-256.
        R"({"node":"n","created":"2026-11-22T02:00:00Z","plain_gmac":")"
        R"(0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"})",
        R"({"node":"n","created":"2026-11-22T02:00:00Z",)"
        R"("plain_gmac":"0123456789abcdef0123456789abcdef","plain_sha256":")"
        R"(0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"})"}) {
    EXPECT_ERROR(opener->OpenAttributes(SealOne(sealer, kAttributesFrame, 0, AsBytes(text))),
                 ErrorCode::kDataCorrupted);
  }
  EXPECT_OK(opener->OpenAttributes(SealOne(
      sealer, kAttributesFrame, 0, AsBytes(R"({"node":"n","created":"2026-11-22T02:00:00Z"})"))));
}

TEST_P(SealWith, RefusesANodeNameThatIsTooLong) {
  const ObjectSealer sealer = PackSealer(GetParam());
  EXPECT_ERROR(sealer.Head({.node = std::string(kAttributesPlain, 'n'), .created = kTestTime}),
               ErrorCode::kInvalidArgument);
  EXPECT_OK(sealer.Head({.node = "\xff", .created = kTestTime}));
}

}  // namespace
}  // namespace veza
