// Checks the settings that say where a bucket is, and builds URLs from them.
#pragma once

#include <string>
#include <string_view>

#include "core/s3/s3_store.h"

namespace veza {

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
