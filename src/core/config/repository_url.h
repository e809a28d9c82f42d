// Parses the setting `repository`, and checks the S3 endpoint.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

enum class RepositoryKind { kDirectory, kS3 };

struct RepositoryUrl {
  RepositoryKind kind = RepositoryKind::kDirectory;
  std::string directory;  // absolute, without trailing '/'; kDirectory only
  std::string bucket;     // kS3 only
  std::string prefix;     // without leading or trailing '/'; may be empty; kS3 only
};

// Accepts "s3://bucket[/prefix]" or an absolute directory. The error's message is only the reason;
// the caller adds the name of the setting.
Result<RepositoryUrl> ParseRepositoryUrl(std::string_view text);

// Accepts "http[s]://host[:port]" and nothing else. The error's message is only the reason.
Status CheckEndpoint(std::string_view text);

// Returns the URL of the AWS endpoint for a region.
std::string AwsEndpoint(std::string_view region);

}  // namespace veza
