// Turns an S3 error response (status and error document) into an Error.
#pragma once

#include <optional>
#include <string>

#include "core/s3/s3_client.h"
#include "core/s3/s3_store.h"
#include "core/s3/s3_xml.h"

namespace veza {

// Makes the error for a response. `what` says what failed, for example `could not read object
// "s3://bucket/name"`. The result is an error for every status. Text from the server is stripped of
// control characters and of the secrets in `options` and of what signed the request. For kNotFound
// and kAlreadyExists the caller should replace the message, because it knows the object.
Error S3ResponseError(const S3Response& response, const std::string& what, const S3Options& options,
                      TimePoint now);

// The same for a part of a request that failed although the request succeeded: the server gives
// only a code and a text. `signer` signed the request, and may be null.
Error S3PartError(std::string_view code, std::string_view message, const std::string& what,
                  const S3Options& options, const S3CredentialsPtr& signer);

// Whether the response says that the server does not accept the credentials, which others may mend.
// A lack of rights (AccessDenied) does not count.
bool RefusesCredentials(const HttpResponse& response);

// Status and code of a response of which RefusesCredentials() is true: "server answered 400
// ExpiredToken". No secret is quoted, because the code is a known one.
std::string DescribeRefusal(const HttpResponse& response);

// Parses the time in a Date, Last-Modified or Retry-After header. Nothing when it is not a time.
std::optional<TimePoint> ParseHttpDate(std::string_view text);

}  // namespace veza
