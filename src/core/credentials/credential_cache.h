// Holds the credentials of one source for all clients of the process, and renews them in time.
//
// There is no thread for that: the request that finds the credentials near their end renews them,
// and the others go on with the old ones while these are valid. See docs/design/server.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/s3/credentials.h"

namespace veza {

// Where credentials come from. Called by one thread at a time.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // kCancelled; any other code becomes kCredentials. Ends a few seconds after `begun`, so that all
  // tries that begin there take no longer than one.
  virtual Result<S3Credentials> FetchSince(SteadyTime begun, const Environment& environment) = 0;
  Result<S3Credentials> Fetch(const Environment& environment) {
    return FetchSince(environment.clock->Steady(), environment);
  }
  // The files that it reads.
  virtual std::vector<std::string> Files() const { return {}; }
  // Changes when there may be others. By default when one of the files has changed.
  virtual std::string Stamp() const;
};

// Credentials are fetched
// - at the first request;
// - when a quarter of their life is left, at most five minutes; in any case after twelve hours,
//   because an end that is absurdly far may be a mistake;
// - when the files of the source have changed;
// - when S3 has refused them. Others that S3 has not accepted either are not replaced at each
//   refusal: after the first time there is a pause of a second, and it doubles.
// When that fails, the old ones stay in use until they end. An error is retryable only after the
// source has given credentials once: until then it is more probably wrong than away. A source that
// says that it is busy is asked again, at the first request, for two seconds in all.
std::shared_ptr<CredentialProvider> MakeCredentialCache(std::string description,
                                                        std::unique_ptr<CredentialSource> source);

// A text that changes when the file is written or replaced. "-" when it is away.
std::string StampOfFile(const std::string& path);

}  // namespace veza
