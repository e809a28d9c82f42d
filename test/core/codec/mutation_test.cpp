// Feeds thousands of damaged inputs, the same in every run, to every reader of data that a stranger
// may have written. No reader may crash (sanitizer builds check this closely), and none may accept
// damaged data as something else than it was.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/codec/document.h"
#include "core/codec/hand_made_wrap.h"
#include "core/codec/stream_builder.h"
#include "core/codec/their_json.h"

namespace veza {
namespace {

constexpr const char* kName = "backup/20261122-020000F/manifest";

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}

  std::size_t Below(std::size_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::size_t>(state_ >> 11) % bound;
  }

  Bytes Mutate(Bytes bytes) {
    for (std::size_t left = 1 + Below(3); left > 0; --left) {
      MutateOnce(bytes);
    }
    return bytes;
  }

 private:
  // Half of the positions are near the front, where headers and lengths are.
  std::size_t Position(const Bytes& bytes) {
    return Below(Below(2) == 0 ? std::min<std::size_t>(bytes.size(), 80) : bytes.size());
  }

  std::uint8_t InterestingByte() {
    static constexpr std::uint8_t kBytes[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '0', '-'};
    return Below(2) == 0 ? kBytes[Below(sizeof kBytes)] : static_cast<std::uint8_t>(Below(256));
  }

  void MutateOnce(Bytes& bytes) {
    if (bytes.empty()) {
      bytes.push_back(InterestingByte());
      return;
    }
    const std::size_t at = Position(bytes);
    const std::size_t end = std::min(bytes.size(), at + 1 + Below(40));
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto to = bytes.begin() + static_cast<std::ptrdiff_t>(end);
    switch (Below(7)) {
      case 0:
        bytes[at] ^= static_cast<std::uint8_t>(1U << Below(8));
        break;
      case 1:
        bytes[at] = InterestingByte();
        break;
      case 2:
        std::fill(from, to, InterestingByte());
        break;
      case 3:
        bytes.erase(from, to);
        break;
      case 4: {
        const Bytes copy(from, to);
        const std::size_t into = Position(bytes);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(into), copy.begin(), copy.end());
        break;
      }
      case 5:
        bytes.insert(from, 1 + Below(9), InterestingByte());
        break;
      default:
        bytes.resize(at);
        break;
    }
  }

  std::uint64_t state_;
};

class MutationWith : public testing::TestWithParam<Cipher> {
 protected:
  // Opens and decompresses the data frames of a pack as a restore does.
  Result<std::vector<Bytes>> OpenPack(ByteView object, std::size_t piece) const {
    std::vector<Bytes> extents;
    Decompressor decompressor;
    FrameReader reader(policy_, ObjectKind::kPack, kName);
    const auto visit = [&](std::uint64_t number, std::uint64_t, const ObjectOpener& opener,
                           ByteView frame) -> Status {
      Bytes plain;
      ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(number, frame, plain));
      if ((flags & kFrameStored) == 0) {
        Bytes extent(500);
        RETURN_IF_ERROR(decompressor.Decompress(plain, extent));
        plain = std::move(extent);
      }
      extents.push_back(std::move(plain));
      return Ok();
    };
    for (std::size_t at = 0; at < object.size(); at += piece) {
      RETURN_IF_ERROR(reader.Feed(object.subspan(at, std::min(piece, object.size() - at)), visit));
    }
    RETURN_IF_ERROR(reader.Finish());
    return extents;
  }

  SealPolicy policy_ = TestPolicy(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Ciphers, MutationWith, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(MutationWith, Streams) {
  const Bytes plain(500, 'x');
  const Bytes object = SealStream(policy_, kName, plain, ContentDescription::kSizeAndSha256);
  ASSERT_OK(OpenStream(policy_, kName, object));
  for (std::uint64_t seed = 0; seed < 10'000; ++seed) {
    Mutator mutator(seed);
    const Bytes mutated = mutator.Mutate(object);
    const Result<Bytes> content =
        OpenStream(policy_, kName, mutated, 1 + mutator.Below(mutated.size() + 1));
    EXPECT_TRUE(!content.has_value() || mutated == object) << seed;
  }
}

TEST_P(MutationWith, Packs) {
  const ObjectSealer sealer(policy_, ObjectKind::kPack, kName, SystemRandom());
  const Bytes object = Concatenate({sealer.Head({.node = "db1", .created = kTestTime}).value(),
                                    SealOne(sealer, 0, 0, Compressed(Bytes(500, 'x'))),
                                    SealOne(sealer, 1, kFrameStored, Bytes(50, 'y')),
                                    SealOne(sealer, 2, kFrameLast, {})});
  ASSERT_OK(OpenPack(object, 1000));
  for (std::uint64_t seed = 0; seed < 10'000; ++seed) {
    Mutator mutator(seed);
    const Bytes mutated = mutator.Mutate(object);
    const auto extents = OpenPack(mutated, 1 + mutator.Below(mutated.size() + 1));
    EXPECT_TRUE(!extents.has_value() || mutated == object) << seed;
  }
}

// Content that was damaged before it was sealed, or by a writer with a bug. The tag is right.
TEST_P(MutationWith, SealedAfterwards) {
  Bytes plain = TestBytes(2000);
  std::fill(plain.begin() + 500, plain.begin() + 1500, 'x');
  const Bytes compressed = Compressed(plain);
  const std::string attributes =
      fmt::format(R"({{"node":"db1","created":"2026-11-22T02:00:00Z","plain_size":2000,)"
                  R"("plain_sha256":"{}"}})",
                  ToHex(Sha256Of(plain)));
  const ObjectSealer sealer(policy_, ObjectKind::kStream, kName, SystemRandom());
  int accepted = 0;
  for (std::uint64_t seed = 0; seed < 10'000; ++seed) {
    Mutator mutator(seed);
    const bool in_attributes = mutator.Below(3) == 0;
    const Bytes text(attributes.begin(), attributes.end());
    const Bytes object = Concatenate(
        {sealer.header(),
         SealOne(sealer, kAttributesFrame, 0, in_attributes ? mutator.Mutate(text) : text),
         SealOne(sealer, 0, kFrameLast, in_attributes ? compressed : mutator.Mutate(compressed))});
    const Result<Bytes> content = OpenStream(policy_, kName, object);
    if (content.has_value()) {
      ++accepted;
      EXPECT_TRUE(*content == plain) << seed;
    } else {
      EXPECT_EQ(content.error().code, ErrorCode::kDataCorrupted) << seed;
    }
  }
  EXPECT_GT(accepted, 0);  // a changed node name is not damage
  EXPECT_LT(accepted, 5'000);
}

TEST_P(MutationWith, Documents) {
  const nlohmann::json document = {
      {"format", 1}, {"text", "\"\\\n\x01ä"}, {"list", {1, -2, {{"a", nullptr}, {"b", true}}}}};
  const std::string text = SignTheirs(document, policy_, kName).value();
  for (std::uint64_t seed = 0; seed < 10'000; ++seed) {
    const Bytes mutated = Mutator(seed).Mutate(Bytes(text.begin(), text.end()));
    const Result<nlohmann::json> opened = OpenTheirs(AsText(mutated), policy_, kName);
    EXPECT_TRUE(!opened.has_value() || *opened == document) << AsText(mutated);
  }
}

TEST(Mutation, KeyWraps) {
  const DataKey key = TestKey();
  const std::string text = CheapWrap().dump(2);
  int accepted = 0;
  for (std::uint64_t seed = 0; seed < 10'000; ++seed) {
    Bytes mutated = Mutator(seed).Mutate(Bytes(text.begin(), text.end()));
    const Result<DataKey> opened = UnwrapKey(AsText(mutated), kWrapPassphrase);
    if (opened.has_value()) {
      ++accepted;
      EXPECT_TRUE(opened->id() == key.id() && EqualInConstantTime(opened->secret(), key.secret()))
          << AsText(mutated);
    }
  }
  EXPECT_GT(accepted, 0);  // node and time are only for people
  EXPECT_LT(accepted, 5'000);
}

TEST(Mutation, Noise) {
  const SealPolicy policy = TestPolicy(Cipher::kNone);
  for (std::uint64_t seed = 0; seed < 2'000; ++seed) {
    const Bytes noise = TestBytes(seed % 300, std::to_string(seed));
    EXPECT_FALSE(OpenStream(policy, kName, noise, 50).has_value());
    EXPECT_FALSE(UnwrapKey(AsText(noise), "").has_value());
    EXPECT_FALSE(OpenDocument(AsText(noise), policy, kName).has_value());
  }
}

}  // namespace
}  // namespace veza
