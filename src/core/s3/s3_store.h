// An S3 bucket, or a prefix in one, as an object store. Uses the S3 REST API with Signature Version
// 4, over libcurl.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "core/s3/credentials.h"
#include "core/s3/object_headers.h"
#include "core/secret_string.h"
#include "core/storage/store.h"

namespace veza {

enum class S3UriStyle { kPath, kVirtualHost };

struct S3Options {
  std::string bucket;
  std::string prefix;    // without leading or trailing '/'; may be empty
  std::string endpoint;  // "https://host[:port]"; "http://" must be spelt out
  std::string region = "us-east-1";
  S3UriStyle uri_style = S3UriStyle::kPath;
  // Signs the requests. Null: the three members below do, and never change.
  std::shared_ptr<CredentialProvider> credentials;
  std::string access_key;
  SecretString secret_key;
  SecretString session_token;  // may be empty
  std::string ca_file;         // empty: the certificates of the system
  bool verify_tls = true;
  int max_connections = 8;    // most requests in flight; further callers wait
  int list_page_size = 1000;  // keys per listing request; S3 returns at most 1000
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};  // longest time without any byte
  std::chrono::milliseconds total_timeout{600'000};
  std::string proxy;         // "http://host[:port]"; empty: none, whatever the environment says
  SecretString proxy_login;  // "user:password"; may be empty
  S3ObjectOptions objects;   // what S3 does with what is written
  // Shows the bucket as it was at the end of this second (s3_past_store.h), and refuses to write.
  std::optional<TimePoint> as_of;
};

// Makes the store without sending a request. kInvalidArgument when bucket or endpoint is malformed.
Result<std::unique_ptr<Store>> MakeS3Store(S3Options options, Environment environment);

}  // namespace veza
