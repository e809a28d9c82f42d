#include "core/codec/key.h"

#include <fmt/format.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/codec/cipher.h"
#include "core/codec/digest.h"
#include "core/codec/json.h"
#include "core/limits.h"

namespace veza {
namespace {

constexpr std::size_t kSaltSize = 16;
constexpr std::size_t kSecretSize = 32;
constexpr std::uint8_t kPackedVersion = 1;

struct ScryptCost {
  std::uint64_t n = 32768;
  std::uint64_t r = 8;
  std::uint64_t p = 1;
};

// Bytes that are wiped when the object is destroyed.
struct Secret {
  std::array<std::uint8_t, kSecretSize> bytes{};
  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
};

std::string WrapAssociatedData(const KeyId& id) {
  return "veza_backup 1 key " + ToHex(id);
}

Status DeriveWrappingKey(std::string_view passphrase, ByteView salt, const ScryptCost& cost,
                         Secret& key) {
  // OpenSSL counts some bytes in addition to the large array. Its limit must therefore be above
  // ours.
  const int derived =
      EVP_PBE_scrypt(passphrase.data() != nullptr ? passphrase.data() : "", passphrase.size(),
                     salt.data(), salt.size(), cost.n, cost.r, cost.p, 2 * limits::kScryptMemory,
                     key.bytes.data(), key.bytes.size());
  // The large array may have been in the heap, which keeps freed memory. An archiver process lives
  // for months, so the memory is given back.
  malloc_trim(0);
  if (derived != 1) {
    ERR_clear_error();
    return MakeError(ErrorCode::kInternal, "could not derive a key with scrypt");
  }
  return Ok();
}

Error NoKeyWrap(const std::string& what) {
  return MakeError(ErrorCode::kDataCorrupted, "key wrap is damaged: {}", what);
}

Error UnknownInWrap(const std::string& what) {
  return MakeError(ErrorCode::kUnsupported, "key wrap has {}", what)
      .WithHint("A newer version of veza_backup may have written it; use that version.");
}

// The members of a key wrap: well formed, but not yet opened.
struct ParsedWrap {
  KeyId key_id{};
  ScryptCost cost;
  Bytes salt;
  Bytes nonce;
  Bytes wrapped;
};

Result<Bytes> Base64Member(const Json& wrap, const char* name, std::size_t size) {
  const std::optional<std::string> text = StringMember(wrap, name);
  std::optional<Bytes> bytes = text ? FromBase64(*text) : std::nullopt;
  if (!bytes || bytes->size() != size) {
    return NoKeyWrap(fmt::format("it has no valid member \"{}\"", name));
  }
  return std::move(*bytes);
}

Result<ScryptCost> ParseCost(const Json& wrap) {
  const std::optional<std::uint64_t> n = UnsignedMember(wrap, "n");
  const std::optional<std::uint64_t> r = UnsignedMember(wrap, "r");
  const std::optional<std::uint64_t> p = UnsignedMember(wrap, "p");
  if (!n || !r || !p || *n < 2 || (*n & (*n - 1)) != 0 || *r == 0 || *p == 0) {
    return NoKeyWrap("it has no valid scrypt parameters");
  }
  // Somebody who can write to the store must not choose how much memory and time a reader spends.
  // The first three comparisons keep the products from overflowing.
  if (*n > limits::kScryptWork || *r > limits::kScryptBlock || *p > limits::kScryptParallelism ||
      128 * *n * *r > limits::kScryptMemory || *n * *r * *p > limits::kScryptWork) {
    return UnknownInWrap("scrypt parameters beyond the limit");
  }
  return ScryptCost{*n, *r, *p};
}

Result<ParsedWrap> ParseWrap(std::string_view text) {
  const std::optional<Json> wrap = ParseJsonObject(text, {.size = limits::kKeyWrap});
  if (!wrap) {
    return NoKeyWrap("it is not a JSON object");
  }
  const std::optional<std::uint64_t> format = UnsignedMember(*wrap, "format");
  if (!format || *format == 0) {
    return NoKeyWrap("it has no valid member \"format\"");
  }
  if (*format != 1) {
    return UnknownInWrap(fmt::format("unknown format {}", *format));
  }
  const std::optional<std::string> kdf = StringMember(*wrap, "kdf");
  const std::optional<std::string> cipher = StringMember(*wrap, "cipher");
  if (!kdf || !cipher) {
    return NoKeyWrap("it lacks member \"kdf\" or \"cipher\"");
  }
  if (*kdf != "scrypt") {
    return UnknownInWrap("an unknown key derivation function");
  }
  if (*cipher != "aes-256-gcm") {
    return UnknownInWrap("an unknown cipher");
  }
  const std::optional<std::string> id_text = StringMember(*wrap, "key_id");
  const std::optional<Bytes> id = id_text ? FromHex(*id_text) : std::nullopt;
  ParsedWrap parsed;
  if (!id || id->size() != parsed.key_id.size() || ToHex(*id) != *id_text) {
    return NoKeyWrap("it has no valid member \"key_id\"");
  }
  std::copy(id->begin(), id->end(), parsed.key_id.begin());
  ASSIGN_OR_RETURN(parsed.cost, ParseCost(*wrap));
  ASSIGN_OR_RETURN(parsed.salt, Base64Member(*wrap, "salt", kSaltSize));
  ASSIGN_OR_RETURN(parsed.nonce, Base64Member(*wrap, "nonce", kGcmNonceSize));
  ASSIGN_OR_RETURN(parsed.wrapped, Base64Member(*wrap, "wrapped", kSecretSize + kGcmTagSize));
  return parsed;
}

std::string PrintWrap(const ParsedWrap& wrap, std::string_view node, TimePoint now) {
  const std::vector<JsonMember> members{
      {"format", 1},
      {"key_id", ToHex(wrap.key_id)},
      {"kdf", "scrypt"},
      {"n", wrap.cost.n},
      {"r", wrap.cost.r},
      {"p", wrap.cost.p},
      {"salt", ToBase64(wrap.salt)},
      {"cipher", "aes-256-gcm"},
      {"nonce", ToBase64(wrap.nonce)},
      {"wrapped", ToBase64(wrap.wrapped)},
      {"node", node},
      {"created", FormatUtc(now)},
  };
  // PrintInOrder() replaces what is not UTF-8: a strange host name must not make this fail.
  return PrintInOrder(members, 2) + "\n";
}

// Remembers the wraps that this process opened last, with their keys, and those that a passphrase
// did not open. scrypt is then not run again for the same wrap and passphrase. Holding the keys
// adds no risk, because a process that works with them has them in memory anyway.
class TriedWraps {
 public:
  std::optional<DataKey> Find(const Sha256Digest& wrap_and_passphrase) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(opened_, wrap_and_passphrase, &Opened::first);
    return found == opened_.end() ? std::nullopt : std::optional(found->second);
  }
  void Add(const Sha256Digest& wrap_and_passphrase, const DataKey& key) {
    const std::lock_guard lock(mutex_);
    if (opened_.size() == kMost) {
      opened_.pop_front();
    }
    opened_.emplace_back(wrap_and_passphrase, key);
  }
  bool HasFailed(const Sha256Digest& wrap_and_passphrase) {
    const std::lock_guard lock(mutex_);
    return std::ranges::find(failed_, wrap_and_passphrase) != failed_.end();
  }
  void AddFailed(const Sha256Digest& wrap_and_passphrase) {
    const std::lock_guard lock(mutex_);
    if (failed_.size() == kMostFailed) {
      failed_.pop_front();
    }
    failed_.push_back(wrap_and_passphrase);
  }

 private:
  using Opened = std::pair<Sha256Digest, DataKey>;
  static constexpr std::size_t kMost = 4;
  // A server tries the same wraps every few minutes, for each of its repositories.
  static constexpr std::size_t kMostFailed = 8 * limits::kKeyWrapsTried;

  std::mutex mutex_;
  std::deque<Opened> opened_;
  std::deque<Sha256Digest> failed_;
};

// Never destroyed, because other threads may still use it while static objects are destroyed.
TriedWraps& RememberedWraps() {
  static TriedWraps* const wraps = new TriedWraps;
  return *wraps;
}

Sha256Digest DigestOf(std::string_view wrap, std::string_view passphrase) {
  Sha256 digest;
  digest.Update(AsBytes(wrap));
  digest.Update(AsBytes(std::string_view("\0", 1)));
  digest.Update(AsBytes(passphrase));
  return digest.Finish();
}

Error WrongPassphrase(const KeyId& id) {
  return MakeError(ErrorCode::kWrongKey, "passphrase does not open key \"{}\"", ToHex(id))
      .WithHint("Check \"veza_backup.cipher_passphrase\", or the file or command that tells it.");
}

}  // namespace

DataKey::DataKey(KeyId id, const std::array<std::uint8_t, 32>& secret)
    : id_(id), secret_(AsText(secret)) {
  Bytes derived = Hkdf(secret, {}, "veza_backup 2 content digest", kAesKeySize);
  content_digest_key_ = AsText(derived);
  OPENSSL_cleanse(derived.data(), derived.size());
}

DataKey DataKey::Generate(Random& random) {
  KeyId id;
  random.Fill(id);
  Secret secret;
  random.Fill(secret.bytes);
  return DataKey(id, secret.bytes);
}

Result<std::string> WrapKey(const DataKey& key, std::string_view passphrase, std::string_view node,
                            TimePoint now, Random& random) {
  std::array<std::uint8_t, kSaltSize> salt;
  random.Fill(salt);
  std::array<std::uint8_t, kGcmNonceSize> nonce;
  random.Fill(nonce);
  const ScryptCost cost;
  Secret wrapping;
  RETURN_IF_ERROR(DeriveWrappingKey(passphrase, salt, cost, wrapping));

  const std::string associated = WrapAssociatedData(key.id());
  std::array<std::uint8_t, kSecretSize + kGcmTagSize> wrapped;
  RETURN_IF_ERROR(EncryptGcm(wrapping.bytes, nonce, {AsBytes(associated)}, key.secret(), wrapped));

  return PrintWrap({key.id(),
                    cost,
                    {salt.begin(), salt.end()},
                    {nonce.begin(), nonce.end()},
                    {wrapped.begin(), wrapped.end()}},
                   node, now);
}

Result<DataKey> UnwrapKey(std::string_view wrap, std::string_view passphrase) {
  const Sha256Digest digest = DigestOf(wrap, passphrase);
  if (std::optional<DataKey> key = RememberedWraps().Find(digest)) {
    return *std::move(key);
  }
  ASSIGN_OR_RETURN(ParsedWrap parsed, ParseWrap(wrap));
  if (RememberedWraps().HasFailed(digest)) {
    return WrongPassphrase(parsed.key_id);
  }
  Secret wrapping;
  RETURN_IF_ERROR(DeriveWrappingKey(passphrase, parsed.salt, parsed.cost, wrapping));

  const std::string associated = WrapAssociatedData(parsed.key_id);
  Secret secret;
  ASSIGN_OR_RETURN(const bool opened,
                   DecryptGcm(wrapping.bytes, parsed.nonce, {AsBytes(associated)}, parsed.wrapped,
                              secret.bytes));
  if (!opened) {
    RememberedWraps().AddFailed(digest);
    return WrongPassphrase(parsed.key_id);
  }
  DataKey key(parsed.key_id, secret.bytes);
  RememberedWraps().Add(digest, key);
  return key;
}

// version (1), key id (16), log2 n (1), r (1), p (1), salt (16), nonce (12), wrapped (48)
Result<Bytes> PackWrap(std::string_view wrap) {
  ASSIGN_OR_RETURN(const ParsedWrap parsed, ParseWrap(wrap));
  Bytes packed{kPackedVersion};
  const auto append = [&packed](ByteView bytes) {
    packed.insert(packed.end(), bytes.begin(), bytes.end());
  };
  append(parsed.key_id);
  packed.push_back(static_cast<std::uint8_t>(std::countr_zero(parsed.cost.n)));
  packed.push_back(static_cast<std::uint8_t>(parsed.cost.r));
  packed.push_back(static_cast<std::uint8_t>(parsed.cost.p));
  append(parsed.salt);
  append(parsed.nonce);
  append(parsed.wrapped);
  return packed;
}

Result<std::string> UnpackWrap(ByteView packed, std::string_view node, TimePoint now) {
  if (packed.size() != kPackedWrapSize) {
    return NoKeyWrap(fmt::format("it has {} bytes instead of {}", packed.size(), kPackedWrapSize));
  }
  if (packed[0] != kPackedVersion) {
    return UnknownInWrap(fmt::format("unknown packed version {}", packed[0]));
  }
  std::size_t at = 1;
  const auto take = [&](std::size_t size) {
    const ByteView taken = packed.subspan(at, size);
    at += size;
    return Bytes(taken.begin(), taken.end());
  };
  ParsedWrap wrap;
  std::ranges::copy(take(wrap.key_id.size()), wrap.key_id.begin());
  const Bytes cost = take(3);
  if (cost[0] >= 64) {
    return NoKeyWrap("it has no valid scrypt parameters");
  }
  wrap.cost = {std::uint64_t{1} << cost[0], cost[1], cost[2]};
  wrap.salt = take(kSaltSize);
  wrap.nonce = take(kGcmNonceSize);
  wrap.wrapped = take(kSecretSize + kGcmTagSize);
  std::string text = PrintWrap(wrap, node, now);
  RETURN_IF_ERROR(ParseWrap(text));  // the limits of scrypt's parameters
  return text;
}

}  // namespace veza
