// Signs requests to the bucket and sends them.
#pragma once

#include <string>

#include "core/limits.h"
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

// Thread-safe.
class S3Client {
 public:
  S3Client(const S3Options& options, S3Address address, Environment environment);

  // Signs and sends the request. A response of any status is a success. `purpose` begins the
  // message of an error.
  Result<HttpResponse> Send(const S3Call& call, const std::string& purpose);

  // Returns the digests of the whole `body` that a PUT needs. Rewinds the body before and after.
  // kInternal when the body does not have the size that it announces; `name` is for that message.
  // kUnsupported when OpenSSL refuses MD5 and the options ask for it.
  Result<S3Payload> HashPayload(Body& body, const std::string& name) const;

 private:
  S3Address address_;
  Environment environment_;
  SigV4Credentials credentials_;
  std::string region_;
  SecretString session_token_;
  S3ObjectOptions objects_;
  HttpClient http_;
};

}  // namespace veza
