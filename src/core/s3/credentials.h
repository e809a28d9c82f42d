// The keys that requests to S3 are signed with, and the contract of those who provide them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/s3/sigv4.h"
#include "core/secret_string.h"

namespace veza {

struct S3Credentials {
  SigV4Credentials keys;
  SecretString session_token;        // empty: none
  std::optional<TimePoint> expires;  // nullopt: nobody has said when
};

// Whether both sign in the same way, whatever their end.
bool SameKeys(const S3Credentials& a, const S3Credentials& b);

// Why the last try to get credentials has failed, and when.
struct CredentialFailure {
  TimePoint at;
  Error error;
};

using S3CredentialsPtr = std::shared_ptr<const S3Credentials>;  // not null unless it says so

// Thread-safe.
//
// Errors are kCredentials, or kCancelled when the environment of the call was cancelled. Never
// kNotFound or kPermissionDenied, which would say something about an object. They are retryable
// when waiting may help. No message quotes what a file or a server has said, except for codes.
class CredentialProvider {
 public:
  virtual ~CredentialProvider() = default;

  // Where the credentials come from, for people: "static: the settings".
  virtual const std::string& description() const = 0;

  // The credentials for the next request. May read files and make requests, which have deadlines.
  virtual Result<S3CredentialsPtr> Get(const Environment& environment) = 0;

  // Called when S3 has refused `refused`: reads or fetches again. Returns null when there are no
  // others.
  virtual Result<S3CredentialsPtr> Replace(const S3Credentials& refused,
                                           const Environment& environment) = 0;

  // Called when S3 has accepted a request that was signed with these: a refusal of them before had
  // another cause.
  virtual void Accepted(const S3Credentials& /*credentials*/) {}

  // Whether there may be other credentials later.
  virtual bool may_change() const { return true; }

  // The files that are read for them, now and later.
  virtual std::vector<std::string> files() const { return {}; }

  // nullopt when the last try has succeeded.
  virtual std::optional<CredentialFailure> last_failure() const { return std::nullopt; }
};

// Credentials that never change.
std::shared_ptr<CredentialProvider> MakeFixedCredentials(std::string description,
                                                         S3Credentials credentials);

}  // namespace veza
