// One request to a service that hands out credentials.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/s3/http_transfer.h"

namespace veza {

struct CredentialRequest {
  std::string method;
  std::string url;
  std::vector<std::string> headers{};  // "Name: value"; wiped after the request
  Body* body = nullptr;
  std::string purpose{};  // begins the message of an error
  const char* hint = "";  // of an error of the network
};

// Sends the request. A response of any status is a success; a redirect is one, too, and is not
// followed. Its body is at most limits::kCredentialAnswer long, and the caller must wipe it. Ends
// at `deadline`. kCredentials, retryable, when there is no response; kCancelled.
Result<HttpResponse> AskForCredentials(CredentialRequest request, HttpOptions options,
                                       SteadyTime deadline, const Environment& environment);

// Scheme, host and port of an address. What follows may be a secret: the path of a container's
// credentials keeps other containers of the host from getting them.
std::string OriginOf(const std::string& url);

// Whether credentials may be asked for at this address: over TLS, or without it on this machine or
// from the addresses at which ECS, EKS and EC2 have their services. A name does not do without TLS,
// because it may lead anywhere.
bool MayBeAskedForCredentials(const std::string& url);

}  // namespace veza
