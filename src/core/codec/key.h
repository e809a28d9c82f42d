// The data key of a repository and the wraps that protect it (FORMAT.md section 2).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

using KeyId = std::array<std::uint8_t, 16>;

// 32 secret bytes and their public id. The bytes are kept as secret_string.h describes. They are
// never formatted or logged, and never compared in variable time.
class DataKey {
 public:
  DataKey(KeyId id, const std::array<std::uint8_t, 32>& secret);

  static DataKey Generate(Random& random);

  const KeyId& id() const { return id_; }
  std::string hex_id() const { return ToHex(id_); }
  ByteView secret() const { return AsBytes(secret_.text()); }
  // The key of kGmac digests (content_digest.h), derived from the secret: 32 bytes.
  ByteView content_digest_key() const { return AsBytes(content_digest_key_.text()); }

 private:
  KeyId id_;
  SecretString secret_;
  SecretString content_digest_key_;
};

// Encrypts the key with the passphrase and returns the key wrap as JSON text. Takes about a tenth
// of a second and 32 MiB, as scrypt intends.
Result<std::string> WrapKey(const DataKey& key, std::string_view passphrase, std::string_view node,
                            TimePoint now, Random& random);

// Opens a key wrap. kWrongKey when the passphrase does not open it; kDataCorrupted when it is not a
// key wrap; kUnsupported for an unknown format, function or cipher, and for scrypt parameters
// beyond core/limits.h. Takes as long as WrapKey() with our own parameters, and at most four times
// as long with others. It cannot be cancelled meanwhile, so a caller that tries several wraps
// checks for cancellation between them. The process remembers the wraps that it opened last and
// those that a passphrase did not open, because a server opens its repository every half minute.
// Thread-safe.
Result<DataKey> UnwrapKey(std::string_view wrap, std::string_view passphrase);

// A key wrap in as few bytes as it takes, to be printed and typed in again (key_sheet.h). Names and
// times are left out. UnpackWrap() gives it those of whoever unpacks it. Neither opens the wrap.
// Errors of PackWrap() are those of UnwrapKey() for a damaged or unknown wrap; UnpackWrap() returns
// kDataCorrupted or kUnsupported.
inline constexpr std::size_t kPackedWrapSize = 96;
Result<Bytes> PackWrap(std::string_view wrap);
Result<std::string> UnpackWrap(ByteView packed, std::string_view node, TimePoint now);

}  // namespace veza
