// An S3 bucket (or a prefix of one) as an object store, by the S3 REST API with Signature Version 4
// over libcurl.
#pragma once

#include <chrono>
#include <memory>
#include <string>

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
  std::string access_key;
  SecretString secret_key;
  SecretString session_token;  // may be empty
  std::string ca_file;         // empty: the system's
  bool verify_tls = true;
  int max_connections = 8;    // requests in flight; further callers wait
  int list_page_size = 1000;  // keys asked for at a time; S3 gives no more than 1000
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};  // less than 1 byte a second for this long
  std::chrono::milliseconds total_timeout{600'000};
};

// No request is made here. Bucket and endpoint must be well formed; kInvalidArgument otherwise.
Result<std::unique_ptr<Store>> MakeS3Store(S3Options options, Environment environment);

}  // namespace veza
