#include "core/credentials/credential_sources.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/ascii.h"
#include "core/credentials/credential_documents.h"
#include "core/credentials/credential_request.h"
#include "core/secret_file.h"

namespace veza {

namespace {

constexpr const char* kInstanceHint =
    "If this host is no instance with a role, set veza_backup.s3_credentials to another provider. "
    "In a container, the instance's metadata option HttpPutResponseHopLimit must be at least 2.";
constexpr const char* kContainerHint =
    "The address comes from AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI in the environment. Check the task role or the pod "
    "identity "
    "of this container.";
constexpr const char* kStsHint =
    "Check veza_backup.s3_sts_endpoint and the network to it. The certificate authority is "
    "veza_backup.s3_ca_file.";
constexpr const char* kRoleHint =
    "Check veza_backup.s3_role_arn, the trust policy of the role, and the token in the file that "
    "veza_backup.s3_web_identity_token_file names.";

Error Answered(const std::string& purpose, const HttpResponse& response, const char* hint) {
  const std::string code = ErrorCodeIn(response.body);
  Error error = MakeError(ErrorCode::kCredentials, "{}: server answered {}{}{}", purpose,
                          response.status, code.empty() ? "" : " ", code)
                    .WithHint(hint);
  error.retryable = response.status >= 500 || response.status == 429;
  return error;
}

// Parses and wipes the body.
template <typename Parser>
Result<S3Credentials> Parse(HttpResponse& response, const std::string& purpose, const char* hint,
                            const Parser& parser) {
  const WipeAtEnd wipe(response.body);
  if (response.status != 200) {
    return Answered(purpose, response, hint);
  }
  Result<S3Credentials> credentials = parser(response.body);
  if (!credentials) {
    Error error = std::move(credentials.error()).WithContext(purpose);
    error.hint = error.hint.empty() ? hint : error.hint;
    return error;
  }
  return credentials;
}

class StaticSource final : public CredentialSource {
 public:
  explicit StaticSource(KeyFiles files) : files_(std::move(files)) {}

  Result<S3Credentials> FetchSince(SteadyTime, const Environment&) override {
    S3Credentials credentials;
    ASSIGN_OR_RETURN(const SecretString access_key,
                     ReadCredentialFile(files_.access_key, kTokenFile));
    credentials.keys.access_key = access_key.text();
    ASSIGN_OR_RETURN(credentials.keys.secret_key,
                     ReadCredentialFile(files_.secret_key, kTokenFile));
    if (!files_.session_token.empty()) {
      ASSIGN_OR_RETURN(credentials.session_token,
                       ReadCredentialFile(files_.session_token, kTokenFile));
    }
    return CheckCredentials(std::move(credentials));
  }

  std::vector<std::string> Files() const override {
    std::vector<std::string> files = {files_.access_key, files_.secret_key};
    if (!files_.session_token.empty()) {
      files.push_back(files_.session_token);
    }
    return files;
  }

 private:
  const KeyFiles files_;
};

class ProfileSource final : public CredentialSource {
 public:
  ProfileSource(std::string file, std::string profile)
      : file_(std::move(file)), profile_(std::move(profile)) {}

  Result<S3Credentials> FetchSince(SteadyTime, const Environment&) override {
    ASSIGN_OR_RETURN(const SecretString text, ReadCredentialFile(file_, kProfileFile));
    Result<S3Credentials> credentials = ParseProfile(text.text(), profile_);
    if (!credentials) {
      return std::move(credentials.error())
          .WithContext(fmt::format("could not use credentials file \"{}\"", file_));
    }
    return credentials;
  }

  std::vector<std::string> Files() const override { return {file_}; }

 private:
  const std::string file_;
  const std::string profile_;
};

class WebIdentitySource final : public CredentialSource {
 public:
  explicit WebIdentitySource(WebIdentity identity) : identity_(std::move(identity)) {}

  Result<S3Credentials> FetchSince(SteadyTime begun, const Environment& environment) override {
    const SteadyTime deadline = begun + kStsDeadline;
    ASSIGN_OR_RETURN(const SecretString token,
                     ReadCredentialFile(identity_.token_file, kIdentityTokenFile));
    std::string form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=" +
                       UriEncode(identity_.session_name, false);
    const WipeAtEnd wipe(form);
    form.reserve(form.size() + identity_.role_arn.size() * 3 + token.text().size() * 3 + 64);
    if (!identity_.role_arn.empty()) {
      form += "&RoleArn=" + UriEncode(identity_.role_arn, false);
    }
    std::string encoded = UriEncode(token.text(), false);
    const WipeAtEnd wipe_encoded(encoded);
    form += "&WebIdentityToken=";
    form += encoded;
    MemoryBody body(AsBytes(form));
    CredentialRequest request{.method = "POST", .url = identity_.endpoint + "/"};
    request.headers = {"content-type: application/x-www-form-urlencoded"};
    request.body = &body;
    request.purpose =
        fmt::format("could not get credentials by web identity from \"{}\"", identity_.endpoint);
    request.hint = kStsHint;
    const std::string purpose = request.purpose;
    ASSIGN_OR_RETURN(HttpResponse response,
                     AskForCredentials(std::move(request), identity_.http, deadline, environment));
    return Parse(response, purpose, kRoleHint, ParseStsCredentials);
  }

  std::vector<std::string> Files() const override { return {identity_.token_file}; }
  // A new token makes the credentials that the old one has brought no worse.
  std::string Stamp() const override { return {}; }

 private:
  const WebIdentity identity_;
};

class ContainerSource final : public CredentialSource {
 public:
  explicit ContainerSource(ContainerService service) : service_(std::move(service)) {}

  Result<S3Credentials> FetchSince(SteadyTime begun, const Environment& environment) override {
    const SteadyTime deadline = begun + kMetadataDeadline;
    CredentialRequest request{.method = "GET", .url = service_.url};
    SecretString token = service_.token;
    if (!service_.token_file.empty()) {
      ASSIGN_OR_RETURN(token, ReadCredentialFile(service_.token_file, kIdentityTokenFile));
    }
    if (!token.empty()) {
      request.headers.push_back(fmt::format("authorization: {}", token.text()));
    }
    request.purpose = fmt::format("could not get the container's credentials from \"{}\"",
                                  OriginOf(service_.url));
    request.hint = kContainerHint;
    const std::string purpose = request.purpose;
    ASSIGN_OR_RETURN(HttpResponse response,
                     AskForCredentials(std::move(request), {.ca_file = service_.ca_file}, deadline,
                                       environment));
    return Parse(response, purpose, kContainerHint, ParseCredentialJson);
  }

  std::vector<std::string> Files() const override {
    return service_.token_file.empty() ? std::vector<std::string>()
                                       : std::vector<std::string>{service_.token_file};
  }
  std::string Stamp() const override { return {}; }  // as with web identity

 private:
  const ContainerService service_;
};

class InstanceSource final : public CredentialSource {
 public:
  explicit InstanceSource(std::string endpoint) : endpoint_(std::move(endpoint)) {}

  Result<S3Credentials> FetchSince(SteadyTime begun, const Environment& environment) override {
    const SteadyTime deadline = begun + kMetadataDeadline;
    const auto ask = [&](const char* method, const std::string& path, std::string header) {
      CredentialRequest request{
          .method = method, .url = endpoint_ + path, .purpose = purpose_, .hint = kInstanceHint};
      request.headers.push_back(std::move(header));  // a list would hold a copy that nobody wipes
      return AskForCredentials(std::move(request), {}, deadline, environment);
    };
    ASSIGN_OR_RETURN(HttpResponse session,
                     ask("PUT", "/latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 60"));
    const WipeAtEnd wipe(session.body);
    if (session.status != 200 || !IsHeaderText(session.body)) {
      return Answered(purpose_, session, kInstanceHint);
    }
    const auto get = [&](const std::string& path) {
      return ask("GET", "/latest/meta-data/iam/security-credentials/" + path,
                 "x-aws-ec2-metadata-token: " + session.body);
    };
    ASSIGN_OR_RETURN(const HttpResponse roles, get(""));
    const std::string_view lines = roles.body;
    const std::string role(Trim(lines.substr(0, lines.find('\n')), " \t\r\n"));
    if (roles.status == 404 || (roles.status == 200 && role.empty())) {
      return MakeError(ErrorCode::kCredentials, "{}: the instance has no role", purpose_)
          .WithHint("Attach a role to the instance (an instance profile).");
    }
    if (roles.status != 200 || !IsRole(role)) {
      return Answered(purpose_, roles, kInstanceHint);
    }
    ASSIGN_OR_RETURN(HttpResponse response, get(role));
    return Parse(response, purpose_, kInstanceHint, ParseCredentialJson);
  }

 private:
  static bool IsHeaderText(std::string_view text) {
    return !text.empty() && text.size() <= 4096 &&
           std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
  }
  // The characters of IAM's names.
  static bool IsRole(std::string_view name) {
    return name.size() <= 128 && std::ranges::all_of(name, [](char c) {
             return IsAlphanumeric(c) ||
                    std::string_view("+=,.@_-").find(c) != std::string_view::npos;
           });
  }

  const std::string endpoint_;
  const std::string purpose_ = fmt::format(
      "could not get credentials from the instance metadata service at \"{}\"", endpoint_);
};

}  // namespace

std::unique_ptr<CredentialSource> MakeStaticSource(KeyFiles files) {
  return std::make_unique<StaticSource>(std::move(files));
}
std::unique_ptr<CredentialSource> MakeProfileSource(std::string file, std::string profile) {
  return std::make_unique<ProfileSource>(std::move(file), std::move(profile));
}
std::unique_ptr<CredentialSource> MakeWebIdentitySource(WebIdentity identity) {
  return std::make_unique<WebIdentitySource>(std::move(identity));
}
std::unique_ptr<CredentialSource> MakeContainerSource(ContainerService service) {
  return std::make_unique<ContainerSource>(std::move(service));
}
std::unique_ptr<CredentialSource> MakeInstanceSource(std::string endpoint) {
  return std::make_unique<InstanceSource>(std::move(endpoint));
}

}  // namespace veza
