// Digests that tell whether two contents are the same: extents of packs and WAL files (FORMAT.md
// section 6, "Digests").
//
// A kGmac digest is the value of a keyed universal hash. It may lie in sealed objects only, and
// must never be shown: two digests of one key, with their contents, give the hash key away.
// Therefore it has no function that formats it for people.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "core/bytes.h"
#include "core/codec/digest.h"
#include "core/codec/key.h"

struct evp_cipher_ctx_st;

namespace veza {

enum class DigestMethod : std::uint8_t {
  kSha256,  // version 1; the only one of a repository without a key
  kGmac,    // version 2: GMAC with AES-256, by a key that is derived from the data key
};

// The word in a manifest: "gmac". kSha256 has none there.
inline constexpr std::string_view kGmacName = "gmac";
inline constexpr std::size_t kGmacSize = 16;

struct ContentDigest {
  DigestMethod method = DigestMethod::kSha256;
  Sha256Digest bytes{};  // with kGmac the first kGmacSize, and then zeros
  bool operator==(const ContentDigest&) const = default;

  ByteView used() const {
    return ByteView(bytes).first(method == DigestMethod::kGmac ? kGmacSize : bytes.size());
  }
  // nullopt when `digest` does not have the size of the method.
  static std::optional<ContentDigest> Of(DigestMethod method, ByteView digest);
};

// Computes a digest piece by piece. Not thread-safe. It can be used again after Finish(). Throws as
// Sha256 does.
class ContentHash {
 public:
  // `key` may be null with kSha256. It is not needed after the constructor.
  ContentHash(DigestMethod method, const DataKey* key);

  void Update(ByteView bytes);
  ContentDigest Finish();

 private:
  class Gmac {
   public:
    explicit Gmac(const DataKey* key);
    void Update(ByteView bytes);
    ContentDigest Finish();

   private:
    struct Deleter {
      void operator()(evp_cipher_ctx_st* context) const;
    };
    std::unique_ptr<evp_cipher_ctx_st, Deleter> context_;
  };

  std::variant<Sha256, Gmac> hash_;
};

ContentDigest DigestContent(DigestMethod method, const DataKey* key, ByteView content);

}  // namespace veza
