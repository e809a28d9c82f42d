// Turns an S3 error response (status and error document) into an Error.
#pragma once

#include <optional>
#include <string>

#include "core/s3/http_transfer.h"
#include "core/s3/s3_store.h"
#include "core/s3/s3_xml.h"

namespace veza {

// Makes the error for a response. `what` says what failed, for example `could not read object
// "s3://bucket/name"`. The result is an error for every status. Text from the server is stripped of
// control characters and of the secrets in `options`. For kNotFound and kAlreadyExists the caller
// should replace the message, because it knows the object.
Error S3ResponseError(const HttpResponse& response, const std::string& what,
                      const S3Options& options, TimePoint now);

// The same for a part of a request that failed although the request succeeded: the server gives
// only a code and a text.
Error S3PartError(std::string_view code, std::string_view message, const std::string& what,
                  const S3Options& options);

// Parses the time in a Date, Last-Modified or Retry-After header. Nothing when it is not a time.
std::optional<TimePoint> ParseHttpDate(std::string_view text);

}  // namespace veza
