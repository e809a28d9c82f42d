#include "core/monitor/credentials_check.h"

#include <fmt/format.h>

namespace veza {

std::optional<CheckResult> CheckCredentialsOf(const Config& config,
                                              const Environment& environment) {
  constexpr const char* kName = "credentials";
  if (!config.s3.credentials) {
    return std::nullopt;
  }
  const Result<S3CredentialsPtr> credentials = config.s3.credentials->Get(environment);
  if (!credentials) {
    return FailedCheck(kName, credentials.error());
  }
  const S3Credentials& given = **credentials;
  return CheckResult{
      kName, true,
      fmt::format("access key \"{}\" from {}, {}", given.keys.access_key,
                  config.s3.credentials->description(),
                  given.expires ? fmt::format("valid until {}", FormatUtc(*given.expires))
                                : "without a known end"),
      ""};
}

}  // namespace veza
