// AES-256 in GCM and CBC mode, as sealed objects and key wraps use it. Thread-safe. The only error
// is kInternal: OpenSSL itself refused. A tag or padding that does not match is a result, not an
// error.
#pragma once

#include <initializer_list>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

inline constexpr std::size_t kAesKeySize = 32;
inline constexpr std::size_t kAesBlockSize = 16;
inline constexpr std::size_t kGcmNonceSize = 12;
inline constexpr std::size_t kGcmTagSize = 16;

// `out` has plain.size() + kGcmTagSize bytes. It receives the ciphertext and then the tag, which
// covers the ciphertext and the concatenation of `associated`. A nonce must never be used twice
// with one key.
Status EncryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                  ByteView plain, MutableByteView out);

// Reverses EncryptGcm(). `plain` has sealed.size() - kGcmTagSize bytes. Returns false when the tag
// does not match; nothing in `plain` may be used then.
Result<bool> DecryptGcm(ByteView key, ByteView nonce, std::initializer_list<ByteView> associated,
                        ByteView sealed, MutableByteView plain);

// Size of the ciphertext for n bytes of plain text. The padding (PKCS#7) adds 1 to 16 bytes.
constexpr std::size_t CbcSize(std::size_t n) {
  return n / kAesBlockSize * kAesBlockSize + kAesBlockSize;
}
// `out` has CbcSize(plain.size()) bytes.
Status EncryptCbc(ByteView key, ByteView iv, ByteView plain, MutableByteView out);
// Call it only for ciphertext whose MAC was verified. `plain` is as large as `sealed`. Returns the
// length of the plain text, or plain.size() + 1 when the padding is wrong.
Result<std::size_t> DecryptCbc(ByteView key, ByteView iv, ByteView sealed, MutableByteView plain);

}  // namespace veza
