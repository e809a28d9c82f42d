// What S3's answers mean: status and error document to Error.
#pragma once

#include <optional>
#include <string>

#include "core/s3/http_transfer.h"
#include "core/s3/s3_store.h"
#include "core/s3/s3_xml.h"

namespace veza {

// `what` failed, for example `could not read object "s3://bucket/name"`. Never a success, whatever
// the status. Text of the server is cleaned of control characters and of the secrets in `options`.
// kNotFound and kAlreadyExists say no more than the code: the caller knows the object.
Error S3ResponseError(const HttpResponse& response, const std::string& what,
                      const S3Options& options, TimePoint now);

// The time in a Date, Last-Modified or Retry-After header; nothing if there is none.
std::optional<TimePoint> ParseHttpDate(std::string_view text);

}  // namespace veza
