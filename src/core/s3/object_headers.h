// What the operator wants S3 to do with our objects: storage class, encryption at rest, tags,
// checksums. Sources: "PutObject", "Using server-side encryption with customer-provided keys" and
// "Categorizing your storage using tags" of the S3 documentation.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

// The checksum that goes along with the content of an object, besides the SHA-256 digest that is
// part of every signature. A bucket with default retention demands one.
enum class S3Checksum { kSha256, kMd5, kNone };

// Encryption by the server, on top of ours.
enum class S3Encryption { kNone, kAes256, kKms, kCustomerKey };

using S3Tags = std::vector<std::pair<std::string, std::string>>;

// The 256-bit key that S3 encrypts with and does not keep.
struct S3CustomerKey {
  SecretString key;  // in base64
  std::string md5;   // of the bytes of the key, in base64
};

struct S3ObjectOptions {
  S3Checksum checksum = S3Checksum::kSha256;
  std::string storage_class;  // empty: the bucket's default
  // The class is for objects whose names begin with one of these.
  std::vector<std::string> storage_class_prefixes;
  // Objects whose names begin with one of these are soon replaced or deleted. A bucket that locks
  // each object for long locks them only for an hour (kShortRetention).
  std::vector<std::string> short_lived_prefixes;
  S3Encryption encryption = S3Encryption::kNone;
  std::string kms_key_id;  // empty: the account's default key
  S3CustomerKey customer_key;
  S3Tags tags;
};

// More than clocks may differ: S3 refuses requests whose time is a quarter of an hour off.
inline constexpr std::chrono::hours kShortRetention{1};

// The digests of an object's content.
struct S3Payload {
  std::string sha256;  // lower-case hexadecimal, for the signature
  std::string md5;     // base64; only for S3Checksum::kMd5
};

using S3Headers = std::vector<std::pair<std::string, std::string>>;

// The headers of a PUT. They hold no secret. `name` is the object's, without the store's prefix.
S3Headers WriteHeaders(const S3ObjectOptions& options, const S3Payload& payload,
                       std::string_view name);

bool IsShortLived(const S3ObjectOptions& options, std::string_view name);

// What locks an object for kShortRetention, in place of the bucket's default. `mode` is
// DefaultRetention::mode.
S3Headers ShortRetentionHeaders(const std::string& mode, TimePoint now);

// The checksum of a document that is sent to S3. Content-MD5 is what every store takes. If OpenSSL
// refuses MD5, it is x-amz-checksum-sha256.
S3Headers DocumentHeaders(std::string_view document);

// The headers that a PUT, GET or HEAD of an object needs when it is encrypted with a customer's
// key. One of them is the key, which the caller must wipe (IsSecretHeader()). Empty without such a
// key.
S3Headers CustomerKeyHeaders(const S3ObjectOptions& options);
// `name` is in lower case.
bool IsSecretHeader(std::string_view name);

// All three: kInvalidArgument with only the reason and a hint; the caller adds the name of the
// setting.
//
// Parses "key=value, key=value" by S3's rules: at most ten tags, keys of 1 to 128 and values of 0
// to 256 characters, letters, digits, spaces and + - = . _ : / @ (a key has no '='), no key twice,
// and none that begins with "aws:".
Result<S3Tags> ParseS3Tags(std::string_view text);
// Parses 32 bytes in 64 hexadecimal digits or in base64. The error does not quote the text.
Result<S3CustomerKey> ParseS3CustomerKey(std::string_view text);
// Refuses classes whose objects cannot be read at once, because no restore could read them.
Status CheckS3StorageClass(std::string_view name);

}  // namespace veza
