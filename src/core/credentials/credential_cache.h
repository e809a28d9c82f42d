// Holds the credentials of one source for all clients of the process, and renews them in time.
//
// There is no thread for that: the request that finds the credentials near their end renews them,
// and the others go on with the old ones while these are valid. See docs/design/server.md.
#pragma once

#include <memory>
#include <string>

#include "core/s3/credentials.h"

namespace veza {

// Where credentials come from. Called by one thread at a time.
class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // kCancelled; any other code becomes kCredentials. Takes no longer than a few seconds.
  virtual Result<S3Credentials> Fetch(const Environment& environment) = 0;
  // Changes when the files behind have changed. Empty: there are none to look at.
  virtual std::string Stamp() const { return {}; }
};

// Credentials are fetched
// - at the first request;
// - when a quarter of their life is left, at most five minutes; in any case after twelve hours,
//   because an end that is absurdly far may be a mistake;
// - when the files of the source have changed;
// - when S3 has refused them.
// When that fails, the old ones stay in use until they end. An error is retryable only after the
// source has given credentials once: until then it is more probably wrong than away. A source that
// says that it is busy is asked again, at the first request, for two seconds.
std::shared_ptr<CredentialProvider> MakeCredentialCache(std::string description,
                                                        std::unique_ptr<CredentialSource> source);

// A text that changes when the file is written or replaced. "-" when it is away.
std::string StampOfFile(const std::string& path);

}  // namespace veza
