// AES-256 as sealed objects and key wraps use it. Thread-safe. Errors are kInternal: OpenSSL itself
// refused; that a tag or padding is wrong is an answer, not an error.
#pragma once

#include <initializer_list>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

inline constexpr std::size_t kAesKeySize = 32;
inline constexpr std::size_t kAesBlockSize = 16;
inline constexpr std::size_t kGcmNonceSize = 12;
inline constexpr std::size_t kGcmTagSize = 16;

// `out` is plain.size() + kGcmTagSize bytes: the ciphertext, then the tag over it and the
// concatenation of `associated`. A nonce must never be used twice with one key.
Status EncryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                  ByteView plain, MutableByteView out);

// The reverse; `plain` is sealed.size() - kGcmTagSize bytes. False when the tag does not match:
// `plain` then holds nothing that may be used.
Result<bool> DecryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                        ByteView sealed, MutableByteView plain);

// Size of the ciphertext of n bytes: padding (PKCS#7) adds 1 to 16.
constexpr std::size_t CbcSize(std::size_t n) {
  return n / kAesBlockSize * kAesBlockSize + kAesBlockSize;
}
// `out` is CbcSize(plain.size()) bytes.
Status EncryptCbc(ByteView key, ByteView iv, ByteView plain, MutableByteView out);
// Only for ciphertext whose MAC was verified. `plain` is as large as `sealed`; returns how much of
// it is plain text, or a size past its end when the padding is wrong.
Result<std::size_t> DecryptCbc(ByteView key, ByteView iv, ByteView sealed, MutableByteView plain);

}  // namespace veza
