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
  CheckResult result{
      kName, true,
      fmt::format("access key \"{}\" from {}, {}", given.keys.access_key,
                  config.s3.credentials->description(),
                  given.expires ? fmt::format("valid until {}", FormatUtc(*given.expires))
                                : "without a known end"),
      ""};
  // The old ones still do. Without a hint nobody would look before their end.
  if (const auto failure = config.s3.credentials->last_failure()) {
    result.detail += fmt::format(", but the renewal at {} failed: {}", FormatUtc(failure->at),
                                 failure->error.message);
    result.hint = failure->error.hint.empty() ? "Look why there are no newer credentials."
                                              : failure->error.hint;
  }
  return result;
}

}  // namespace veza
