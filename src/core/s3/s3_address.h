// Checks the settings that say where a bucket is, and builds URLs from them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/s3/s3_store.h"

namespace veza {

struct HttpUrl {
  std::string scheme;  // "http" or "https"
  std::string host;    // an address of IPv6 has its brackets
  std::string port;    // empty: the scheme's default
  std::string path;    // may be empty
};

// Nothing when the text is not a URL that begins with "http://" or "https://", or when there is
// more in it: a user, a query, a fragment. It may contain a password, so no message may quote it.
std::optional<HttpUrl> ParseHttpUrl(const std::string& text);

struct S3Address {
  std::string origin;     // "https://host[:port]", without the scheme's default port
  std::string host;       // value of the Host header: `origin` without the scheme
  std::string root_path;  // "/bucket" in path style, otherwise empty

  // Returns the encoded path of a request for the key. An empty key stands for the bucket itself.
  std::string Path(std::string_view key) const;
};

// Checks bucket, prefix, endpoint and URI style, and that credentials are set. kInvalidArgument
// with a hint that names the setting.
Result<S3Address> MakeS3Address(const S3Options& options);

}  // namespace veza
