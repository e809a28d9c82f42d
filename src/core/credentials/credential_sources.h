// The places where credentials come from. Each is a CredentialSource (credential_cache.h), made
// from settings and the environment by core/config/credential_choice.h. Making one reads and sends
// nothing.
#pragma once

#include <memory>
#include <string>

#include "core/credentials/credential_cache.h"
#include "core/s3/http_transfer.h"
#include "core/secret_string.h"

namespace veza {

// The files that the settings name for the keys.
struct KeyFiles {
  std::string access_key;
  std::string secret_key;
  std::string session_token{};  // empty: there is no token
};
std::unique_ptr<CredentialSource> MakeStaticSource(KeyFiles files);

// A profile of a credentials file of AWS.
std::unique_ptr<CredentialSource> MakeProfileSource(std::string file, std::string profile);

// STS gives credentials of a role for the token of a service account, which is read each time.
struct WebIdentity {
  std::string endpoint;  // "https://host[:port]", or "http://" on this machine
  std::string role_arn;  // empty: the token says the role, as MinIO allows
  std::string session_name;
  std::string token_file;
  HttpOptions http;  // certificates and proxy; the deadlines do not count
};
std::unique_ptr<CredentialSource> MakeWebIdentitySource(WebIdentity identity);

// The credentials service of a container (ECS, EKS Pod Identity).
struct ContainerService {
  std::string url;           // MayBeAskedForCredentials() allows it
  SecretString token{};      // the Authorization header; empty: none
  std::string token_file{};  // is read each time; empty: `token` counts
  std::string ca_file{};
};
std::unique_ptr<CredentialSource> MakeContainerSource(ContainerService service);

// The instance metadata service of EC2, version 2.
std::unique_ptr<CredentialSource> MakeInstanceSource(std::string endpoint);

// How long the metadata of an instance or a container may take, all requests together.
inline constexpr std::chrono::seconds kMetadataDeadline{2};
inline constexpr std::chrono::seconds kStsDeadline{10};

}  // namespace veza
