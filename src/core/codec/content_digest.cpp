#include "core/codec/content_digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "core/codec/cipher.h"

namespace veza {
namespace {

// GMAC is AES-GCM of an empty text, whose associated data is what is hashed. The nonce is always
// the same: FORMAT.md says why that is right here, and only here.
constexpr std::uint8_t kNonce[kGcmNonceSize] = {};

// OpenSSL takes the length as an int.
constexpr std::size_t kPiece = 1U << 30;

void Require(bool success) {
  if (!success) {
    throw std::runtime_error("OpenSSL cannot compute GMAC");
  }
}

// Fetched once, and never freed, as in cipher.cpp.
const EVP_CIPHER* Gcm() {
  static const EVP_CIPHER* const method = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return method;
}

}  // namespace

std::optional<ContentDigest> ContentDigest::Of(DigestMethod method, ByteView digest) {
  ContentDigest result{.method = method};
  if (digest.size() != result.used().size()) {
    return std::nullopt;
  }
  std::copy(digest.begin(), digest.end(), result.bytes.begin());
  return result;
}

void ContentHash::Gmac::Deleter::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

ContentHash::Gmac::Gmac(const DataKey* key) : context_(EVP_CIPHER_CTX_new()) {
  if (context_ == nullptr) {
    throw std::bad_alloc();
  }
  Require(key != nullptr && Gcm() != nullptr &&
          EVP_EncryptInit_ex2(context_.get(), Gcm(), key->content_digest_key().data(), kNonce,
                              nullptr) == 1);
}

void ContentHash::Gmac::Update(ByteView bytes) {
  while (!bytes.empty()) {
    const ByteView piece = bytes.first(std::min(bytes.size(), kPiece));
    int ignored = 0;
    Require(EVP_EncryptUpdate(context_.get(), nullptr, &ignored, piece.data(),
                              static_cast<int>(piece.size())) == 1);
    bytes = bytes.subspan(piece.size());
  }
}

ContentDigest ContentHash::Gmac::Finish() {
  ContentDigest digest{.method = DigestMethod::kGmac};
  std::uint8_t nothing[kAesBlockSize];
  int length = 0;
  Require(EVP_EncryptFinal_ex(context_.get(), nothing, &length) == 1 &&
          EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, kGmacSize,
                              digest.bytes.data()) == 1 &&
          // Without a key: the one that is there, whose schedule is not computed again.
          EVP_EncryptInit_ex2(context_.get(), nullptr, nullptr, kNonce, nullptr) == 1);
  return digest;
}

ContentHash::ContentHash(DigestMethod method, const DataKey* key) {
  if (method == DigestMethod::kGmac) {
    hash_.emplace<Gmac>(key);
  }
}

void ContentHash::Update(ByteView bytes) {
  std::visit([bytes](auto& hash) { hash.Update(bytes); }, hash_);
}

ContentDigest ContentHash::Finish() {
  if (auto* const gmac = std::get_if<Gmac>(&hash_)) {
    return gmac->Finish();
  }
  return {DigestMethod::kSha256, std::get<Sha256>(hash_).Finish()};
}

ContentDigest DigestContent(DigestMethod method, const DataKey* key, ByteView content) {
  ContentHash hash(method, key);
  hash.Update(content);
  return hash.Finish();
}

}  // namespace veza
