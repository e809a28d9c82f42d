#include "core/config/credential_choice.h"

#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <span>
#include <utility>

#include "core/credentials/credential_request.h"
#include "core/credentials/credential_sources.h"
#include "core/s3/s3_address.h"
#include "core/secret_file.h"

namespace veza {
namespace {

constexpr const char* kStaticSettings[] = {"s3_access_key",    "s3_access_key_file",
                                           "s3_secret_key",    "s3_secret_key_file",
                                           "s3_session_token", "s3_session_token_file"};
constexpr const char* kProfileSettings[] = {"s3_profile", "s3_credentials_file"};
constexpr const char* kWebIdentitySettings[] = {"s3_role_arn", "s3_role_session_name",
                                                "s3_web_identity_token_file", "s3_sts_endpoint"};

struct ProviderSettings {
  std::string_view provider;
  std::span<const char* const> names;
};
constexpr ProviderSettings kProviders[] = {{"static", kStaticSettings},
                                           {"profile", kProfileSettings},
                                           {"web-identity", kWebIdentitySettings}};

constexpr const char* kInstanceEndpoint = "http://169.254.169.254";
constexpr const char* kEcsEndpoint = "http://169.254.170.2";
constexpr const char* kRelativeUri = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
constexpr const char* kFullUri = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

// The first setting of the provider that is set; null when there is none.
const char* SetOf(const SettingsInForce& settings, const ProviderSettings& provider) {
  const auto found =
      std::ranges::find_if(provider.names, [&](const char* name) { return settings.IsSet(name); });
  return found == provider.names.end() ? nullptr : *found;
}

std::string Variable(const EnvLookup& environment, const char* name) {
  return environment(name).value_or("");
}

// Makes the provider, or returns the one that this process has already: a reload that changes
// something else must not ask for credentials again. `key` says everything about the source, and
// holds no secret.
std::shared_ptr<CredentialProvider> OfThisProcess(
    const std::string& key, const std::function<std::shared_ptr<CredentialProvider>()>& make) {
  static std::mutex mutex;
  static std::string last_key;
  static std::shared_ptr<CredentialProvider> last;  // a process has one repository
  const std::lock_guard lock(mutex);
  if (!last || key != last_key) {
    last = make();
    last_key = key;
  }
  return last;
}

// --- static --------------------------------------------------------------------------------------

// The present value of the setting. With `file` the name of the file that has said it; empty when
// there is none.
Status TakeFromSettings(const SettingsInForce& settings, std::string_view name, std::string& file,
                        SecretString& value) {
  ASSIGN_OR_RETURN(file, FileOfSecret(settings, name));
  value = settings.Secret(name);
  if (!file.empty()) {
    ASSIGN_OR_RETURN(value, ReadCredentialFile(file, kTokenFile));
  }
  return Ok();
}

Status TakeFromEnvironment(const EnvLookup& environment, const char* variable,
                           std::string_view setting, SecretString& value) {
  ASSIGN_OR_RETURN(std::string text, FromEnvironment(environment, variable, setting));
  const WipeAtEnd wipe(text);
  value = SecretString(text);
  return Ok();
}

// Where all parts come from, for people.
std::string StaticDescription(bool from_settings, bool from_environment) {
  return fmt::format("static: {}{}{}", from_settings ? "the settings" : "",
                     from_settings && from_environment ? " and " : "",
                     from_environment ? "the environment" : "");
}

Status ResolveStatic(const SettingsInForce& settings, const EnvLookup& environment,
                     S3Options& options) {
  KeyFiles files;
  SecretString access_key;
  RETURN_IF_ERROR(TakeFromSettings(settings, "s3_access_key", files.access_key, access_key));
  RETURN_IF_ERROR(
      TakeFromSettings(settings, "s3_secret_key", files.secret_key, options.secret_key));
  RETURN_IF_ERROR(
      TakeFromSettings(settings, "s3_session_token", files.session_token, options.session_token));
  const bool from_settings =
      !access_key.empty() || !options.secret_key.empty() || !options.session_token.empty();
  const bool from_environment = access_key.empty() || options.secret_key.empty();

  // A session token belongs to the pair of keys that it was issued with. A token from the
  // environment is therefore not combined with keys from the settings.
  if (!from_settings) {
    RETURN_IF_ERROR(TakeFromEnvironment(environment, "AWS_SESSION_TOKEN", "s3_session_token",
                                        options.session_token));
  }
  if (access_key.empty()) {
    RETURN_IF_ERROR(
        TakeFromEnvironment(environment, "AWS_ACCESS_KEY_ID", "s3_access_key", access_key));
  }
  if (options.secret_key.empty()) {
    RETURN_IF_ERROR(TakeFromEnvironment(environment, "AWS_SECRET_ACCESS_KEY", "s3_secret_key",
                                        options.secret_key));
  }
  if (access_key.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "no access key for S3 is configured")
        .WithHint(
            "Set veza_backup.s3_access_key, or AWS_ACCESS_KEY_ID in the environment. For a role in "
            "place of keys, set veza_backup.s3_credentials.");
  }
  if (options.secret_key.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "no secret key for S3 is configured")
        .WithHint(
            "Set veza_backup.s3_secret_key_file, or AWS_SECRET_ACCESS_KEY in the environment.");
  }
  options.access_key = access_key.text();
  // What is not in a file changes by a reload, which running jobs do not see. A job that read the
  // other parts again would sign with parts of two keys.
  const bool all_in_files = !files.access_key.empty() && !files.secret_key.empty() &&
                            (!files.session_token.empty() || options.session_token.empty());
  options.credentials =
      all_in_files ? MakeCredentialCache("static: the files of the settings",
                                         MakeStaticSource(std::move(files)))
                   : MakeFixedCredentials(
                         StaticDescription(from_settings, from_environment),
                         {{options.access_key, options.secret_key}, options.session_token, {}});
  return Ok();
}

// --- profile -------------------------------------------------------------------------------------

// Where AWS's programs of this account look. Empty when the account's directory is not known.
std::string DefaultProfileFile(const EnvLookup& environment) {
  const std::string home = Variable(environment, "HOME");
  return home.starts_with('/') ? home + "/.aws/credentials" : "";
}

Status ResolveProfile(const SettingsInForce& settings, const EnvLookup& environment,
                      S3Options& options) {
  std::string file = settings.Text("s3_credentials_file");
  if (file.empty()) {
    ASSIGN_OR_RETURN(
        file, FromEnvironment(environment, "AWS_SHARED_CREDENTIALS_FILE", "s3_credentials_file"));
  }
  file = file.empty() ? DefaultProfileFile(environment) : file;
  if (file.empty()) {
    return MakeError(ErrorCode::kCredentials, "no credentials file for S3 is configured")
        .WithHint("Set veza_backup.s3_credentials_file.");
  }
  std::string profile = settings.Text("s3_profile");
  if (profile.empty()) {
    ASSIGN_OR_RETURN(profile, FromEnvironment(environment, "AWS_PROFILE", "s3_profile"));
  }
  profile = profile.empty() ? "default" : profile;
  // For those who look whether the data directory holds the secrets.
  if (Result<S3Credentials> present = MakeProfileSource(file, profile)->Fetch(Environment{})) {
    options.secret_key = std::move(present->keys.secret_key);
    options.session_token = std::move(present->session_token);
  }
  options.credentials = OfThisProcess(fmt::format("profile\n{}\n{}", file, profile), [&] {
    return MakeCredentialCache(fmt::format("profile \"{}\" in file \"{}\"", profile, file),
                               MakeProfileSource(file, profile));
  });
  return Ok();
}

// --- web identity --------------------------------------------------------------------------------

// The setting, or else the variable of the environment.
Result<std::string> SettingOr(const SettingsInForce& settings, const char* name,
                              const EnvLookup& environment, const char* variable) {
  return settings.IsSet(name) ? Result<std::string>(settings.Text(name))
                              : FromEnvironment(environment, variable, name);
}

// Whether the store at this endpoint is one of AWS.
bool IsOfAws(const std::string& endpoint) {
  const std::optional<HttpUrl> url = ParseHttpUrl(endpoint);
  return url && (url->host.ends_with(".amazonaws.com") || url->host.ends_with(".amazonaws.com.cn"));
}

Status ResolveWebIdentity(const SettingsInForce& settings, const EnvLookup& environment,
                          S3Options& options) {
  WebIdentity identity;
  ASSIGN_OR_RETURN(identity.token_file, SettingOr(settings, "s3_web_identity_token_file",
                                                  environment, "AWS_WEB_IDENTITY_TOKEN_FILE"));
  ASSIGN_OR_RETURN(identity.role_arn,
                   SettingOr(settings, "s3_role_arn", environment, "AWS_ROLE_ARN"));
  ASSIGN_OR_RETURN(identity.session_name, SettingOr(settings, "s3_role_session_name", environment,
                                                    "AWS_ROLE_SESSION_NAME"));
  ASSIGN_OR_RETURN(identity.endpoint,
                   SettingOr(settings, "s3_sts_endpoint", environment, "AWS_ENDPOINT_URL_STS"));
  if (identity.token_file.empty()) {
    return MakeError(ErrorCode::kCredentials, "no file with a web identity token is configured")
        .WithHint(
            "Set veza_backup.s3_web_identity_token_file, or AWS_WEB_IDENTITY_TOKEN_FILE in the "
            "environment.");
  }
  // Other stores than AWS may find the role in the token.
  if (identity.role_arn.empty() && identity.endpoint.empty()) {
    return MakeError(ErrorCode::kCredentials, "no role for web identity is configured")
        .WithHint("Set veza_backup.s3_role_arn, or AWS_ROLE_ARN in the environment.");
  }
  if (identity.endpoint.empty() && !IsOfAws(options.endpoint)) {
    return MakeError(ErrorCode::kCredentials,
                     "it is not said who gives credentials for the web identity")
        .WithHint(
            "The token is not sent to AWS, because veza_backup.s3_endpoint is not AWS's. Set "
            "veza_backup.s3_sts_endpoint; with MinIO to the address of the store.");
  }
  if (identity.endpoint.empty()) {
    identity.endpoint = fmt::format("https://sts.{}.amazonaws.com{}", options.region,
                                    options.region.starts_with("cn-") ? ".cn" : "");
  }
  identity.endpoint.erase(identity.endpoint.find_last_not_of('/') + 1);
  if (identity.session_name.empty()) {
    identity.session_name = "veza_backup";
  }
  identity.http.ca_file = options.ca_file;
  if (identity.endpoint.starts_with("https://")) {
    identity.http.proxy = options.proxy;
    identity.http.proxy_login = options.proxy_login;
  }
  const std::string key =
      fmt::format("web-identity\n{}\n{}\n{}\n{}\n{}\n{}\n{}", identity.endpoint, identity.role_arn,
                  identity.session_name, identity.token_file, options.ca_file, options.proxy,
                  ToHex(Sha256Of(AsBytes(options.proxy_login.text()))));
  options.credentials = OfThisProcess(key, [&] {
    return MakeCredentialCache(
        fmt::format("web-identity: role \"{}\" from \"{}\"", identity.role_arn, identity.endpoint),
        MakeWebIdentitySource(identity));
  });
  return Ok();
}

// --- container and instance ----------------------------------------------------------------------

Status ResolveContainer(const EnvLookup& environment, S3Options& options) {
  ContainerService service;
  const std::string relative = Variable(environment, kRelativeUri);
  service.url = relative.empty() ? Variable(environment, kFullUri) : kEcsEndpoint + relative;
  if (service.url.empty()) {
    return MakeError(ErrorCode::kCredentials,
                     "the environment names no credentials service of a container")
        .WithHint(
            "ECS and EKS set AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or "
            "AWS_CONTAINER_CREDENTIALS_FULL_URI. The server and vezactl must be started with it.");
  }
  if ((!relative.empty() && !relative.starts_with('/')) || !MayBeAskedForCredentials(service.url)) {
    return MakeError(ErrorCode::kCredentials,
                     "environment variable {} does not name a place that may be asked for "
                     "credentials",
                     relative.empty() ? kFullUri : kRelativeUri)
        .WithHint(
            "Without TLS only 127.0.0.0/8, ::1 and the addresses of ECS, EKS and EC2 may be asked, "
            "as numbers. Otherwise use \"https://\".");
  }
  service.token_file = Variable(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  std::string token = Variable(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
  const WipeAtEnd wipe(token);
  if (std::ranges::any_of(token, [](char c) { return c < ' ' || c > '~'; })) {
    return MakeError(ErrorCode::kCredentials,
                     "environment variable AWS_CONTAINER_AUTHORIZATION_TOKEN contains a control "
                     "character");
  }
  service.token = token;
  service.ca_file = options.ca_file;
  const std::string key =
      fmt::format("container\n{}\n{}\n{}", service.url, service.token_file, service.ca_file);
  options.credentials = OfThisProcess(key, [&] {
    return MakeCredentialCache(fmt::format("container: \"{}\"", OriginOf(service.url)),
                               MakeContainerSource(service));
  });
  return Ok();
}

bool IsDisabled(const EnvLookup& environment) {
  const auto disabled = ParseBoolean(Variable(environment, "AWS_EC2_METADATA_DISABLED"));
  return disabled && *disabled;
}

Status ResolveInstance(const EnvLookup& environment, S3Options& options) {
  if (IsDisabled(environment)) {
    return MakeError(ErrorCode::kCredentials,
                     "AWS_EC2_METADATA_DISABLED forbids asking the instance metadata service")
        .WithHint("Set veza_backup.s3_credentials to another provider, or unset the variable.");
  }
  std::string endpoint = Variable(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
  endpoint = endpoint.empty() ? kInstanceEndpoint : endpoint;
  endpoint.erase(endpoint.find_last_not_of('/') + 1);
  if (!MayBeAskedForCredentials(endpoint)) {
    return MakeError(ErrorCode::kCredentials,
                     "environment variable AWS_EC2_METADATA_SERVICE_ENDPOINT does not name a place "
                     "that may be asked for credentials")
        .WithHint("Unset it, or give an address of EC2 or of this machine.");
  }
  options.credentials = OfThisProcess("instance\n" + endpoint, [&] {
    return MakeCredentialCache(fmt::format("instance: \"{}\"", endpoint),
                               MakeInstanceSource(endpoint));
  });
  return Ok();
}

// --- the choice ----------------------------------------------------------------------------------

// Returns the chosen provider. With "auto": the one of which a setting is set; empty when there is
// none.
Result<std::string_view> ChosenBySettings(const SettingsInForce& settings) {
  const std::string_view choice = settings.Choice("s3_credentials");
  std::string_view chosen = choice == "auto" ? "" : choice;
  const char* by = nullptr;
  for (const ProviderSettings& provider : kProviders) {
    const char* const name = SetOf(settings, provider);
    if (name == nullptr || provider.provider == chosen) {
      continue;
    }
    if (choice != "auto") {
      return MakeError(ErrorCode::kInvalidArgument,
                       "\"veza_backup.{}\" is set, but \"veza_backup.s3_credentials\" is \"{}\"",
                       name, choice)
          .WithHint(fmt::format("Set veza_backup.s3_credentials = '{}', or remove the setting.",
                                provider.provider));
    }
    if (by != nullptr) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "\"veza_backup.{}\" and \"veza_backup.{}\" are of two providers", by, name)
          .WithHint("Set veza_backup.s3_credentials to the provider that you mean.");
    }
    chosen = provider.provider;
    by = name;
  }
  return chosen;
}

std::string_view ChosenByEnvironment(const EnvLookup& environment) {
  const auto has = [&](const char* name) { return !Variable(environment, name).empty(); };
  if (has("AWS_ACCESS_KEY_ID")) {
    return "static";
  }
  if (has("AWS_WEB_IDENTITY_TOKEN_FILE")) {
    return "web-identity";
  }
  struct stat status {};
  const std::string file = DefaultProfileFile(environment);
  if (has("AWS_PROFILE") || has("AWS_SHARED_CREDENTIALS_FILE") ||
      (!file.empty() && stat(file.c_str(), &status) == 0)) {
    return "profile";
  }
  return has(kRelativeUri) || has(kFullUri) ? "container" : "instance";
}

Result<std::string_view> Chosen(const SettingsInForce& settings, const EnvLookup& environment) {
  ASSIGN_OR_RETURN(const std::string_view provider, ChosenBySettings(settings));
  return provider.empty() ? ChosenByEnvironment(environment) : provider;
}

}  // namespace

Status ResolveCredentials(const SettingsInForce& settings, const EnvLookup& environment,
                          S3Options& options) {
  ASSIGN_OR_RETURN(const std::string_view provider, Chosen(settings, environment));
  return provider == "static"         ? ResolveStatic(settings, environment, options)
         : provider == "profile"      ? ResolveProfile(settings, environment, options)
         : provider == "web-identity" ? ResolveWebIdentity(settings, environment, options)
         : provider == "container"    ? ResolveContainer(environment, options)
                                      : ResolveInstance(environment, options);
}

bool SettingsNameCredentials(const SettingsInForce& settings) {
  const Result<std::string_view> chosen = ChosenBySettings(settings);
  if (!chosen) {
    return true;  // they name two: ResolveCredentials() says so
  }
  const auto is_set = [&](const char* name, const char* file) {
    return settings.IsSet(name) || settings.IsSet(file);
  };
  return *chosen == "static" ? is_set("s3_access_key", "s3_access_key_file") &&
                                   is_set("s3_secret_key", "s3_secret_key_file")
                             : !chosen->empty();
}

std::vector<std::string_view> SettingsThatLeadAToken(const SettingsInForce& settings,
                                                     const EnvLookup& environment) {
  const std::string_view provider = Chosen(settings, environment).value_or("");
  if (provider == "web-identity" && !settings.IsSet("s3_web_identity_token_file")) {
    return {"s3_sts_endpoint", "s3_proxy", "s3_ca_file"};
  }
  // The environment names the service itself, which is asked without a proxy.
  return provider == "container" ? std::vector<std::string_view>{"s3_ca_file"}
                                 : std::vector<std::string_view>();
}

}  // namespace veza
