// Signs requests to the bucket and sends them.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "core/limits.h"
#include "core/s3/credentials.h"
#include "core/s3/http_client.h"
#include "core/s3/s3_address.h"
#include "core/s3/s3_store.h"
#include "core/s3/sigv4.h"

namespace veza {

struct S3Call {
  std::string method;
  std::string key;  // empty: the bucket itself
  NamedValues query{};
  NamedValues headers{};
  std::string payload_hash{};  // of `body`, S3Payload::sha256; empty: no body
  Body* body = nullptr;
  Sink sink{};  // see HttpRequest
  int sink_status = 200;
  std::size_t body_limit = limits::kErrorAnswer;
};

// A response, and what signed its request.
struct S3Response : HttpResponse {
  S3CredentialsPtr credentials;  // null in tests that make a response by hand
  // S3 has refused the credentials, and there may be others in a moment.
  bool others_may_come = false;
};

// Thread-safe.
class S3Client {
 public:
  S3Client(const S3Options& options, S3Address address, Environment environment);

  // Signs and sends the request. A response of any status is a success. When S3 refuses the
  // credentials and the provider has others, the request is sent once more with these. `purpose`
  // begins the message of an error. kCredentials when there are no credentials.
  //
  // Who rotates keys may write them one after the other. So once S3 has accepted some of this
  // client's requests, others may come for a minute after the first refusal since then.
  Result<S3Response> Send(const S3Call& call, const std::string& purpose);

  // Returns the digests of the whole `body` that a PUT needs. Rewinds the body before and after.
  // kInternal when the body does not have the size that it announces; `name` is for that message.
  // kUnsupported when OpenSSL refuses MD5 and the options ask for it.
  Result<S3Payload> HashPayload(Body& body, const std::string& name) const;

 private:
  Result<S3Response> SendOnce(const S3Call& call, const std::string& purpose,
                              S3CredentialsPtr credentials);

  // Notes what S3 says of the credentials.
  S3Response Judged(S3Response response);
  // An error of the credential provider, as the error of a request.
  Error InRequest(Error error, const std::string& purpose);
  // Called when S3 has refused the credentials, or when there are none.
  bool OthersMayCome();

  S3Address address_;
  Environment environment_;
  std::shared_ptr<CredentialProvider> credentials_;
  std::string region_;
  S3ObjectOptions objects_;
  HttpClient http_;
  std::atomic<bool> was_accepted_ = false;  // once
  std::mutex refusals_;                     // guards what follows
  // Since the last success, of those that came without a minute's pause.
  std::optional<SteadyTime> first_refusal_;
  SteadyTime last_refusal_{};
};

}  // namespace veza
