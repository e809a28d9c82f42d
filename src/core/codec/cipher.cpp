#include "core/codec/cipher.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include <memory>
#include <new>

namespace veza {
namespace {

struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter>;

// Each call makes its own context, so that no secret is held longer than the call. That costs well
// under a microsecond. Fetching the method would cost more, so it is fetched once. It is never
// freed, because other threads may be at work while static objects are destroyed.
Context NewContext() {
  Context context(EVP_CIPHER_CTX_new());
  if (context == nullptr) {
    throw std::bad_alloc();
  }
  return context;
}

const EVP_CIPHER* Gcm() {
  static const EVP_CIPHER* const method = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return method;
}

const EVP_CIPHER* Cbc() {
  static const EVP_CIPHER* const method = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return method;
}

// OpenSSL keeps one error queue per thread. libcurl and the PostgreSQL server read it too, so it
// must be left empty.
Error OpenSslRefused(const char* what) {
  ERR_clear_error();
  return MakeError(ErrorCode::kInternal, "OpenSSL could not {} with AES-256", what);
}

bool Update(EVP_CIPHER_CTX* context, std::uint8_t* out, ByteView in, std::size_t* written) {
  int length = 0;
  if (!in.empty() &&
      EVP_CipherUpdate(context, out, &length, in.data(), static_cast<int>(in.size())) != 1) {
    return false;
  }
  *written = static_cast<std::size_t>(length);
  return true;
}

bool StartGcm(EVP_CIPHER_CTX* context, ByteView key, ByteView nonce,
              std::initializer_list<ByteView> associated, bool encrypt) {
  if (key.size() != kAesKeySize || nonce.size() != kGcmNonceSize || Gcm() == nullptr ||
      EVP_CipherInit_ex2(context, Gcm(), key.data(), nonce.data(), encrypt ? 1 : 0, nullptr) != 1) {
    return false;
  }
  for (const ByteView part : associated) {
    std::size_t ignored = 0;
    if (!Update(context, nullptr, part, &ignored)) {
      return false;
    }
  }
  return true;
}

}  // namespace

Status EncryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                  ByteView plain, MutableByteView out) {
  const Context context = NewContext();
  std::size_t written = 0;
  int rest = 0;
  if (out.size() != plain.size() + kGcmTagSize ||
      !StartGcm(context.get(), key, nonce, associated, true) ||
      !Update(context.get(), out.data(), plain, &written) ||
      EVP_CipherFinal_ex(context.get(), out.data() + written, &rest) != 1 ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kGcmTagSize,
                          out.data() + plain.size()) != 1) {
    return OpenSslRefused("encrypt");
  }
  return Ok();
}

Result<bool> DecryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                        ByteView sealed, MutableByteView plain) {
  const Context context = NewContext();
  if (sealed.size() != plain.size() + kGcmTagSize) {
    return OpenSslRefused("decrypt");
  }
  std::size_t written = 0;
  std::uint8_t tag[kGcmTagSize];
  std::memcpy(tag, sealed.data() + plain.size(), sizeof tag);
  if (!StartGcm(context.get(), key, nonce, associated, false) ||
      !Update(context.get(), plain.data(), sealed.first(plain.size()), &written) ||
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) != 1) {
    return OpenSslRefused("decrypt");
  }
  int rest = 0;
  std::uint8_t nothing[kAesBlockSize];
  const bool authentic = EVP_CipherFinal_ex(context.get(), nothing, &rest) == 1;
  if (!authentic) {
    ERR_clear_error();
  }
  return authentic;
}

Status EncryptCbc(ByteView key, ByteView iv, ByteView plain, MutableByteView out) {
  const Context context = NewContext();
  std::size_t written = 0;
  int rest = 0;
  if (key.size() != kAesKeySize || iv.size() != kAesBlockSize ||
      out.size() != CbcSize(plain.size()) || Cbc() == nullptr ||
      EVP_CipherInit_ex2(context.get(), Cbc(), key.data(), iv.data(), 1, nullptr) != 1 ||
      !Update(context.get(), out.data(), plain, &written) ||
      EVP_CipherFinal_ex(context.get(), out.data() + written, &rest) != 1) {
    return OpenSslRefused("encrypt");
  }
  return Ok();
}

Result<std::size_t> DecryptCbc(ByteView key, ByteView iv, ByteView sealed, MutableByteView plain) {
  const Context context = NewContext();
  std::size_t written = 0;
  if (key.size() != kAesKeySize || iv.size() != kAesBlockSize || plain.size() != sealed.size() ||
      Cbc() == nullptr ||
      EVP_CipherInit_ex2(context.get(), Cbc(), key.data(), iv.data(), 0, nullptr) != 1 ||
      !Update(context.get(), plain.data(), sealed, &written)) {
    return OpenSslRefused("decrypt");
  }
  int rest = 0;
  if (EVP_CipherFinal_ex(context.get(), plain.data() + written, &rest) != 1) {
    ERR_clear_error();
    return plain.size() + 1;
  }
  return written + static_cast<std::size_t>(rest);
}

}  // namespace veza
