// SHA-256 and what is built from it (HMAC, HKDF), over OpenSSL's EVP interface.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>

#include "core/bytes.h"

struct evp_md_ctx_st;

namespace veza {

using Sha256Digest = std::array<std::uint8_t, 32>;

// Computes a digest piece by piece. Not thread-safe. It can be used again after Finish(). Every
// function in this file throws std::bad_alloc when memory runs out and std::runtime_error when
// OpenSSL is unusable. Nothing else can fail.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(ByteView bytes);
  Sha256Digest Finish();

 private:
  struct Deleter {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Deleter> context_;
};

Sha256Digest Sha256Of(ByteView bytes);
// 64 hexadecimal digits, in either case.
std::optional<Sha256Digest> Sha256FromHex(std::string_view text);

// HMAC-SHA-256 of the concatenation of the parts.
Sha256Digest HmacSha256(ByteView key, std::initializer_list<ByteView> parts);

// HKDF-SHA-256 (RFC 5869), `length` bytes.
Bytes Hkdf(ByteView key, ByteView salt, std::string_view info, std::size_t length);

// Compares in time that depends on the length alone.
bool EqualInConstantTime(ByteView a, ByteView b);

}  // namespace veza
