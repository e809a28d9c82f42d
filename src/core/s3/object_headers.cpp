#include "core/s3/object_headers.h"

#include <openssl/evp.h>

#include <algorithm>

#include "core/ascii.h"
#include "core/s3/sigv4.h"

namespace veza {

namespace {

constexpr std::size_t kMostTags = 10;
constexpr std::size_t kLongestTagKey = 128;  // characters
constexpr std::size_t kLongestTagValue = 256;
constexpr std::size_t kLongestStorageClass = 64;
constexpr std::size_t kCustomerKeySize = 32;
constexpr std::string_view kCustomerKeyHeader = "x-amz-server-side-encryption-customer-key";
constexpr const char* kTagHint =
    "Write them as \"project=shop, owner=dba\". S3 allows ten tags, keys of 128 and values of 256 "
    "letters, digits, spaces and + - = . _ : / @.";

bool IsTagCharacter(char c) {
  // S3 allows the letters of every language.
  return IsAlphanumeric(c) || static_cast<unsigned char>(c) >= 0x80 ||
         std::string_view(" +-=._:/@").find(c) != std::string_view::npos;
}

// Counts characters of UTF-8: continuation bytes do not count.
std::size_t CountCharacters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

Error Refused(std::string reason, const char* hint) {
  return Error{ErrorCode::kInvalidArgument, std::move(reason), hint};
}

Status CheckTag(const S3Tags& others, std::string_view key, std::string_view value) {
  if (key.empty()) {
    return Refused("a tag has no key", kTagHint);
  }
  if (!std::ranges::all_of(key, IsTagCharacter) || !std::ranges::all_of(value, IsTagCharacter)) {
    return Refused(fmt::format("tag \"{}\" has a character that S3 does not allow", key), kTagHint);
  }
  if (CountCharacters(key) > kLongestTagKey) {
    return Refused(
        fmt::format("key \"{}\" of a tag is longer than {} characters", key, kLongestTagKey),
        kTagHint);
  }
  if (CountCharacters(value) > kLongestTagValue) {
    return Refused(
        fmt::format("the value of tag \"{}\" is longer than {} characters", key, kLongestTagValue),
        kTagHint);
  }
  if (key.starts_with("aws:")) {
    return Refused(fmt::format("the key of tag \"{}\" begins with \"aws:\"", key),
                   "AWS keeps such keys for itself. Choose another one.");
  }
  if (std::ranges::find(others, key, &S3Tags::value_type::first) != others.end()) {
    return Refused(fmt::format("there are two tags with the key \"{}\"", key), kTagHint);
  }
  return Ok();
}

// The form of the x-amz-tagging header: that of a query.
std::string TaggingHeader(const S3Tags& tags) {
  std::string text;
  for (const auto& [key, value] : tags) {
    text += fmt::format("{}{}={}", text.empty() ? "" : "&", UriEncode(key, false),
                        UriEncode(value, false));
  }
  return text;
}

bool BeginsWithOneOf(std::string_view name, const std::vector<std::string>& prefixes) {
  return std::ranges::any_of(prefixes,
                             [&](const std::string& prefix) { return name.starts_with(prefix); });
}

}  // namespace

S3Headers WriteHeaders(const S3ObjectOptions& options, const S3Payload& payload,
                       std::string_view name) {
  S3Headers headers;
  if (options.checksum == S3Checksum::kSha256) {
    headers.emplace_back("x-amz-checksum-sha256",
                         ToBase64(FromHex(payload.sha256).value_or(Bytes())));
  } else if (options.checksum == S3Checksum::kMd5) {
    headers.emplace_back("content-md5", payload.md5);
  }
  if (!options.storage_class.empty() && BeginsWithOneOf(name, options.storage_class_prefixes)) {
    headers.emplace_back("x-amz-storage-class", options.storage_class);
  }
  if (options.encryption == S3Encryption::kAes256) {
    headers.emplace_back("x-amz-server-side-encryption", "AES256");
  } else if (options.encryption == S3Encryption::kKms) {
    headers.emplace_back("x-amz-server-side-encryption", "aws:kms");
    if (!options.kms_key_id.empty()) {
      headers.emplace_back("x-amz-server-side-encryption-aws-kms-key-id", options.kms_key_id);
    }
  }
  if (!options.tags.empty()) {
    headers.emplace_back("x-amz-tagging", TaggingHeader(options.tags));
  }
  return headers;
}

bool IsShortLived(const S3ObjectOptions& options, std::string_view name) {
  return BeginsWithOneOf(name, options.short_lived_prefixes);
}

S3Headers ShortRetentionHeaders(const std::string& mode, TimePoint now) {
  const TimePoint until = std::chrono::floor<std::chrono::seconds>(now + kShortRetention);
  return {{"x-amz-object-lock-mode", mode},
          {"x-amz-object-lock-retain-until-date", FormatUtc(until)}};
}

S3Headers DocumentHeaders(std::string_view document) {
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (EVP_Digest(document.data(), document.size(), digest, &length, EVP_md5(), nullptr) == 1) {
    return {{"content-md5", ToBase64({digest, length})}};
  }
  EVP_Digest(document.data(), document.size(), digest, &length, EVP_sha256(), nullptr);
  return {{"x-amz-checksum-sha256", ToBase64({digest, length})}};
}

S3Headers CustomerKeyHeaders(const S3ObjectOptions& options) {
  if (options.encryption != S3Encryption::kCustomerKey) {
    return {};
  }
  return {{"x-amz-server-side-encryption-customer-algorithm", "AES256"},
          {std::string(kCustomerKeyHeader), std::string(options.customer_key.key.text())},
          {"x-amz-server-side-encryption-customer-key-md5", options.customer_key.md5}};
}

bool IsSecretHeader(std::string_view name) {
  return name == "x-amz-security-token" || name == kCustomerKeyHeader;
}

Result<S3Tags> ParseS3Tags(std::string_view text) {
  S3Tags tags;
  for (std::string_view rest = text; !Trim(rest, " ").empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view pair = rest.substr(0, comma);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) {
      return Refused(fmt::format("\"{}\" is not \"key=value\"", Trim(pair, " ")), kTagHint);
    }
    const std::string_view key = Trim(pair.substr(0, equals), " ");
    const std::string_view value = Trim(pair.substr(equals + 1), " ");
    RETURN_IF_ERROR(CheckTag(tags, key, value));
    tags.emplace_back(key, value);
    if (tags.size() > kMostTags) {
      return Refused(fmt::format("there are more than {} tags", kMostTags), kTagHint);
    }
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return tags;
}

Result<S3CustomerKey> ParseS3CustomerKey(std::string_view text) {
  constexpr const char* kHint =
      "Write 32 random bytes into the file, for example the output of \"openssl rand -base64 32\". "
      "Keep a copy elsewhere: without the key nobody can read the objects again.";
  std::optional<Bytes> bytes =
      text.size() == 2 * kCustomerKeySize ? FromHex(text) : FromBase64(text);
  if (!bytes || bytes->size() != kCustomerKeySize) {
    return Refused("the key does not have 32 bytes in hexadecimal or base64", kHint);
  }
  std::uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  const bool hashed =
      EVP_Digest(bytes->data(), bytes->size(), digest, &length, EVP_md5(), nullptr) == 1;
  std::string key = ToBase64(*bytes);
  const WipeAtEnd wipe(key);
  Wipe(*bytes);
  if (!hashed) {
    return Refused("OpenSSL refuses MD5, which S3 demands for such a key", "");
  }
  return S3CustomerKey{SecretString(key), ToBase64({digest, length})};
}

Status CheckS3StorageClass(std::string_view name) {
  if (name.size() > kLongestStorageClass || !std::ranges::all_of(name, [](char c) {
        return IsAlphanumeric(c) || c == '_' || c == '-';
      })) {
    return Refused("it is not the name of a storage class",
                   "Give a name such as \"STANDARD_IA\" or \"INTELLIGENT_TIERING\".");
  }
  if (name == "GLACIER" || name == "DEEP_ARCHIVE") {
    return Refused(fmt::format("objects in class \"{}\" cannot be read at once", name),
                   "A restore would wait for hours. For cheap storage that can be read at once, "
                   "use \"GLACIER_IR\" or \"STANDARD_IA\".");
  }
  return Ok();
}

}  // namespace veza
