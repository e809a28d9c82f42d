// Where a bucket is: the settings checked and turned into URLs.
#pragma once

#include <string>
#include <string_view>

#include "core/s3/s3_store.h"

namespace veza {

struct S3Address {
  std::string origin;     // "https://host[:port]", the port only if it is not the scheme's own
  std::string host;       // the Host header: the same without the scheme
  std::string root_path;  // "/bucket" in path style, else empty

  // The encoded path of a request; `key` empty: of the bucket itself.
  std::string Path(std::string_view key) const;
};

// Checks bucket, prefix, endpoint, URI style and the presence of credentials: kInvalidArgument with
// a hint that names the setting.
Result<S3Address> MakeS3Address(const S3Options& options);

}  // namespace veza
