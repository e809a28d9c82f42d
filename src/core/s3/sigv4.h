// AWS Signature Version 4 for requests that are signed in their headers. A pure function: no clock,
// no network, no state. Source: "Signature Version 4 signing process" of the AWS documentation. The
// path is used as given, which is S3's rule: encoded once, not normalised.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/secret_string.h"

namespace veza {

using NamedValues = std::vector<std::pair<std::string, std::string>>;

struct SigV4Credentials {
  std::string access_key;
  SecretString secret_key;
};

struct SigV4Scope {
  std::string region;
  std::string service;
  TimePoint time{};  // the time in the x-amz-date header
};

struct SigV4Request {
  std::string method;
  std::string path;          // encoded, as in the request line; begins with '/'
  NamedValues query;         // not encoded, in any order
  NamedValues headers;       // all are signed; names in upper or lower case, in any order
  std::string payload_hash;  // SHA-256 of the body in lower-case hexadecimal
};

struct SigV4Signature {
  std::string canonical_request;
  std::string string_to_sign;
  std::string authorization;  // the value of the Authorization header
};

SigV4Signature SignV4(const SigV4Request& request, const SigV4Credentials& credentials,
                      const SigV4Scope& scope);

// Formats the time for the x-amz-date header: "20130524T000000Z".
std::string AmzDate(TimePoint time);

// Encodes as %XX everything except A-Z a-z 0-9 - . _ ~ (and '/' when `keep_slash` is set).
std::string UriEncode(std::string_view text, bool keep_slash);

// Returns the query as SigV4 demands it: encoded, sorted, without '?'. It may be sent in this form.
std::string CanonicalQuery(const NamedValues& query);

}  // namespace veza
