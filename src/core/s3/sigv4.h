// AWS Signature Version 4 for requests signed in their headers, as a pure function: no clock, no
// network, no state. Source: "Signature Version 4 signing process" of the AWS documentation; the
// path is taken as it is (S3's rule: encoded once, not normalised).
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
  TimePoint time{};  // the same as in the x-amz-date header
};

struct SigV4Request {
  std::string method;
  std::string path;          // as in the request line, thus encoded; begins with '/'
  NamedValues query;         // not encoded, in any order
  NamedValues headers;       // all of them are signed; names in any case, in any order
  std::string payload_hash;  // lower-case hex SHA-256 of the body, or what stands for it
};

struct SigV4Signature {
  std::string canonical_request;
  std::string string_to_sign;
  std::string authorization;  // the value of the Authorization header
};

SigV4Signature SignV4(const SigV4Request& request, const SigV4Credentials& credentials,
                      const SigV4Scope& scope);

// "20130524T000000Z", for the x-amz-date header.
std::string AmzDate(TimePoint time);

// Everything but A-Z a-z 0-9 - . _ ~ (and '/', when it is kept) as %XX.
std::string UriEncode(std::string_view text, bool keep_slash);

// The query as SigV4 wants it and as it may be sent: encoded, sorted, without '?'.
std::string CanonicalQuery(const NamedValues& query);

}  // namespace veza
