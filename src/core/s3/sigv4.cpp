#include "core/s3/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>

#include "core/ascii.h"

namespace veza {

namespace {

constexpr const char* kAlgorithm = "AWS4-HMAC-SHA256";

std::string Sha256Hex(std::string_view text) {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(AsBytes(text).data(), text.size(), digest.data());
  return ToHex(digest);
}

// A key or a part of one. Wiped when it is destroyed.
struct KeyBytes : Bytes {
  using Bytes::Bytes;
  ~KeyBytes() { OPENSSL_cleanse(data(), size()); }
  KeyBytes(KeyBytes&&) = default;  // a vector is empty after a move
  KeyBytes(const KeyBytes&) = delete;
  KeyBytes& operator=(const KeyBytes&) = delete;
  KeyBytes& operator=(KeyBytes&&) = delete;
};

KeyBytes Hmac(ByteView key, std::string_view text) {
  KeyBytes mac(SHA256_DIGEST_LENGTH);
  unsigned int length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), AsBytes(text).data(), text.size(),
       mac.data(), &length);
  return mac;
}

// Removes blanks at both ends, and turns several blanks into one.
std::string TrimmedValue(std::string_view value) {
  std::string trimmed;
  for (const char c : value) {
    if (c != ' ' || (!trimmed.empty() && trimmed.back() != ' ')) {
      trimmed.push_back(c);
    }
  }
  if (trimmed.ends_with(' ')) {
    trimmed.pop_back();
  }
  return trimmed;
}

struct CanonicalHeaders {
  std::string lines;
  std::string names;  // separated by ';'
};

CanonicalHeaders Canonicalize(const NamedValues& headers) {
  std::map<std::string, std::string> sorted;
  for (const auto& [name, value] : headers) {
    const auto [entry, added] = sorted.try_emplace(LowerCase(name), TrimmedValue(value));
    if (!added) {
      entry->second += ',' + TrimmedValue(value);
    }
  }
  CanonicalHeaders canonical;
  for (const auto& [name, value] : sorted) {
    canonical.lines += fmt::format("{}:{}\n", name, value);
    canonical.names += canonical.names.empty() ? name : ';' + name;
  }
  return canonical;
}

}  // namespace

std::string AmzDate(TimePoint time) {
  const std::time_t seconds =
      std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string UriEncode(std::string_view text, bool keep_slash) {
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
    if (plain) {
      encoded.push_back(c);
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string CanonicalQuery(const NamedValues& query) {
  NamedValues encoded;
  encoded.reserve(query.size());
  for (const auto& [name, value] : query) {
    encoded.emplace_back(UriEncode(name, false), UriEncode(value, false));
  }
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", name, value);
  }
  return text;
}

SigV4Signature SignV4(const SigV4Request& request, const SigV4Credentials& credentials,
                      const SigV4Scope& scope) {
  const CanonicalHeaders headers = Canonicalize(request.headers);
  SigV4Signature signature;
  signature.canonical_request = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, request.path,
                                            CanonicalQuery(request.query), headers.lines,
                                            headers.names, request.payload_hash);

  const std::string time = AmzDate(scope.time);
  const std::string date = time.substr(0, 8);
  const std::string credential_scope =
      fmt::format("{}/{}/{}/aws4_request", date, scope.region, scope.service);
  signature.string_to_sign = fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, credential_scope,
                                         Sha256Hex(signature.canonical_request));

  constexpr std::string_view kKeyPrefix = "AWS4";
  const std::string_view secret = credentials.secret_key.text();
  KeyBytes secret_key(kKeyPrefix.size() + secret.size());
  std::copy(secret.begin(), secret.end(),
            std::copy(kKeyPrefix.begin(), kKeyPrefix.end(), secret_key.begin()));
  const KeyBytes date_key = Hmac(secret_key, date);
  const KeyBytes region_key = Hmac(date_key, scope.region);
  const KeyBytes service_key = Hmac(region_key, scope.service);
  const KeyBytes signing_key = Hmac(service_key, "aws4_request");
  signature.authorization = fmt::format(
      "{} Credential={}/{},SignedHeaders={},Signature={}", kAlgorithm, credentials.access_key,
      credential_scope, headers.names, ToHex(Hmac(signing_key, signature.string_to_sign)));
  return signature;
}

}  // namespace veza
