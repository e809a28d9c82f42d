// What the codec's tests share: reproducible random bytes, a key, policies, and objects that are
// built by hand.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/bytes.h"
#include "core/codec/digest.h"
#include "core/codec/seal.h"
#include "core/environment.h"

namespace veza {

// Returns the same bytes in every run: SHA-256 digests of seed and counter, block by block. Not
// thread-safe.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(std::string seed = "veza") : seed_(std::move(seed)) {}
  void Fill(MutableByteView bytes) override {
    for (std::uint8_t& byte : bytes) {
      if (used_ == block_.size()) {
        block_ = Sha256Of(AsBytes(seed_ + ":" + std::to_string(counter_++)));
        used_ = 0;
      }
      byte = block_[used_++];
    }
  }

 private:
  std::string seed_;
  std::uint64_t counter_ = 0;
  Sha256Digest block_{};
  std::size_t used_ = block_.size();
};

inline constexpr TimePoint kTestTime{std::chrono::seconds(1'795'312'800)};  // 2026-11-22T02:00:00Z

inline DataKey TestKey(const std::string& seed = "key") {
  FixedRandom random(seed);
  return DataKey::Generate(random);
}

inline SealPolicy TestPolicy(Cipher cipher, const std::string& key_seed = "key") {
  SealPolicy policy;
  policy.cipher = cipher;
  if (cipher != Cipher::kNone) {
    policy.key = std::make_shared<const DataKey>(TestKey(key_seed));
  }
  return policy;
}

inline constexpr Cipher kAllCiphers[] = {Cipher::kNone, Cipher::kAes256Gcm, Cipher::kAes256Cbc};

// For INSTANTIATE_TEST_SUITE_P.
inline std::string CipherTestName(const testing::TestParamInfo<Cipher>& info) {
  std::string name = CipherName(info.param);
  std::erase(name, '-');
  return name;
}

inline Bytes TestBytes(std::size_t size, const std::string& seed = "content") {
  FixedRandom random(seed);
  Bytes bytes(size);
  random.Fill(bytes);
  return bytes;
}

inline Bytes Concatenate(std::initializer_list<ByteView> parts) {
  Bytes all;
  for (const ByteView part : parts) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

inline Bytes FlipBit(Bytes bytes, std::size_t bit) {
  bytes[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  return bytes;
}

inline Bytes SealOne(const ObjectSealer& sealer, std::uint64_t number, std::uint32_t flags,
                     ByteView plain) {
  Bytes frame(sealer.FrameSize(plain.size()));
  const Status status = sealer.Seal(number, flags, plain, frame);
  EXPECT_TRUE(status.has_value()) << status.error().message;
  return frame;
}

}  // namespace veza

// Requires a result to be a success, and shows the error otherwise.
#define ASSERT_OK(result) ASSERT_TRUE((result).has_value()) << (result).error().message
#define EXPECT_OK(result)                                                  \
  do {                                                                     \
    const auto& veza_outcome = (result);                                   \
    EXPECT_TRUE(veza_outcome.has_value()) << veza_outcome.error().message; \
  } while (false)
#define EXPECT_ERROR(result, expected_code)                                              \
  do {                                                                                   \
    const auto& veza_outcome = (result);                                                 \
    ASSERT_FALSE(veza_outcome.has_value());                                              \
    EXPECT_EQ(veza_outcome.error().code, expected_code) << veza_outcome.error().message; \
  } while (false)
