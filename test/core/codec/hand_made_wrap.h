// Makes key wraps without WrapKey(), so that tests can choose scrypt's parameters.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/codec/cipher.h"
#include "core/codec/codec_fixtures.h"

namespace veza {

inline constexpr std::string_view kWrapPassphrase = "correct horse battery staple";

inline nlohmann::json HandMadeWrap(const DataKey& key, std::string_view passphrase, std::uint64_t n,
                                   std::uint64_t r, std::uint64_t p) {
  const Bytes salt(16, 1);
  const Bytes nonce(12, 2);
  Bytes wrapping(32);
  EXPECT_EQ(EVP_PBE_scrypt(passphrase.data(), passphrase.size(), salt.data(), salt.size(), n, r, p,
                           1U << 30, wrapping.data(), wrapping.size()),
            1);
  Bytes wrapped(48);
  const std::string associated = "veza_backup 1 key " + key.hex_id();
  EXPECT_OK(EncryptGcm(wrapping, nonce, {AsBytes(associated)}, key.secret(), wrapped));
  return {{"format", 1},
          {"key_id", key.hex_id()},
          {"kdf", "scrypt"},
          {"n", n},
          {"r", r},
          {"p", p},
          {"salt", ToBase64(salt)},
          {"cipher", "aes-256-gcm"},
          {"nonce", ToBase64(nonce)},
          {"wrapped", ToBase64(wrapped)},
          {"node", "n"},
          {"created", "2026-11-22T02:00:00Z"}};
}

// Wraps TestKey().
inline nlohmann::json HandMadeWrap(std::uint64_t n, std::uint64_t r, std::uint64_t p) {
  return HandMadeWrap(TestKey(), kWrapPassphrase, n, r, p);
}

inline nlohmann::json CheapWrap() {
  return HandMadeWrap(16, 1, 1);
}

}  // namespace veza
