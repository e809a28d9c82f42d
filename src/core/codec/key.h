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

// 32 secret bytes and their name. Kept as secret_string.h says; never formatted, logged or compared
// in variable time.
class DataKey {
 public:
  DataKey(KeyId id, const std::array<std::uint8_t, 32>& secret)
      : id_(id), secret_(AsText(secret)) {}

  static DataKey Generate(Random& random);

  const KeyId& id() const { return id_; }
  std::string hex_id() const { return ToHex(id_); }
  ByteView secret() const { return AsBytes(secret_.text()); }

 private:
  KeyId id_;
  SecretString secret_;
};

// The JSON text of a key wrap. Takes about a tenth of a second and 32 MiB: scrypt is meant to.
Result<std::string> WrapKey(const DataKey& key, std::string_view passphrase, std::string_view node,
                            TimePoint now, Random& random);

// kWrongKey when the passphrase does not open it, kDataCorrupted when it is no key wrap,
// kUnsupported for an unknown format, function or cipher, and for parameters of scrypt beyond
// core/limits.h. Takes as long as WrapKey the first time, at most four times as long, and cannot be
// cancelled meanwhile: who tries several asks for cancellation in between. The process remembers
// what it has opened last, because a server opens its repository every half minute, and what it
// could not open with this passphrase. Thread-safe.
Result<DataKey> UnwrapKey(std::string_view wrap, std::string_view passphrase);

}  // namespace veza
