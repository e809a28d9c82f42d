#include "core/codec/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <new>
#include <stdexcept>

namespace veza {
namespace {

void Require(bool success) {
  if (!success) {
    throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }
}

// Fetching the method costs more than hashing a page, so it is fetched once. It is never freed,
// because other threads may still hash while static objects are destroyed.
const EVP_MD* Sha256Method() {
  static const EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return method;
}

struct MacDeleter {
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

}  // namespace

void Sha256::Deleter::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr) {
    throw std::bad_alloc();
  }
  Require(EVP_DigestInit_ex2(context_.get(), Sha256Method(), nullptr) == 1);
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(ByteView bytes) {
  Require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest;
  Require(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1 &&
          EVP_DigestInit_ex2(context_.get(), Sha256Method(), nullptr) == 1);
  return digest;
}

Sha256Digest Sha256Of(ByteView bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

std::optional<Sha256Digest> Sha256FromHex(std::string_view text) {
  const std::optional<Bytes> bytes = FromHex(text);
  std::optional<Sha256Digest> digest;
  if (bytes && bytes->size() == sizeof(Sha256Digest)) {
    std::ranges::copy(*bytes, digest.emplace().begin());
  }
  return digest;
}

Sha256Digest HmacSha256(ByteView key, std::initializer_list<ByteView> parts) {
  static EVP_MAC* const method = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  Require(method != nullptr);
  const std::unique_ptr<EVP_MAC_CTX, MacDeleter> context(EVP_MAC_CTX_new(method));
  if (context == nullptr) {
    throw std::bad_alloc();
  }
  char digest_name[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string("digest", digest_name, 0),
      OSSL_PARAM_construct_end(),
  };
  // OpenSSL takes a null pointer as "use the key of last time". An empty key therefore needs an
  // address.
  static constexpr std::uint8_t kNothing = 0;
  Require(EVP_MAC_init(context.get(), key.empty() ? &kNothing : key.data(), key.size(),
                       parameters) == 1);
  for (const ByteView part : parts) {
    Require(EVP_MAC_update(context.get(), part.data(), part.size()) == 1);
  }
  Sha256Digest digest;
  std::size_t length = 0;
  Require(EVP_MAC_final(context.get(), digest.data(), &length, digest.size()) == 1 &&
          length == digest.size());
  return digest;
}

Bytes Hkdf(ByteView key, ByteView salt, std::string_view info, std::size_t length) {
  Sha256Digest extracted = HmacSha256(salt, {key});
  Bytes out;
  out.reserve(length);
  Sha256Digest block{};
  std::size_t previous = 0;
  for (std::uint8_t counter = 1; out.size() < length; ++counter) {
    block = HmacSha256(extracted,
                       {ByteView(block).first(previous), AsBytes(info), ByteView(&counter, 1)});
    previous = block.size();
    out.insert(
        out.end(), block.begin(),
        block.begin() + static_cast<std::ptrdiff_t>(std::min(block.size(), length - out.size())));
  }
  OPENSSL_cleanse(extracted.data(), extracted.size());
  OPENSSL_cleanse(block.data(), block.size());
  return out;
}

bool EqualInConstantTime(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace veza
