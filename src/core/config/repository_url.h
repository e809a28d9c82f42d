// The setting `repository` and the endpoint that belongs to it.
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

// "s3://bucket[/prefix]" or an absolute directory. The error's message is the reason alone.
Result<RepositoryUrl> ParseRepositoryUrl(std::string_view text);

// "http[s]://host[:port]" and nothing else. The error's message is the reason alone.
Status CheckEndpoint(std::string_view text);

// The endpoint of AWS for a region.
std::string AwsEndpoint(std::string_view region);

}  // namespace veza
