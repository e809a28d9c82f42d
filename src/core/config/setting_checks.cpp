#include "core/config/setting_checks.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/ascii.h"
#include "core/config/placeholder.h"
#include "core/config/repository_url.h"
#include "core/config/retention_keep.h"
#include "core/credentials/credential_request.h"
#include "core/s3/object_headers.h"
#include "core/schedule/cron.h"
#include "core/schedule/time_zone.h"
#include "core/secret_file.h"

namespace veza {
namespace {

constexpr std::size_t kMinPassphraseCharacters = 16;

bool IsNameCharacter(char c) {
  return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-';
}

// Turns an error whose message is only a reason into an error of ValidateSetting().
Status AsRefusal(const SettingSpec& spec, const Error& reason) {
  return InvalidSetting(spec, reason.message).WithHint(reason.hint);
}

// A value is good if it can be parsed.
template <typename Parsed>
Status OutcomeOf(const SettingSpec& spec, const Parsed& parsed) {
  return parsed.has_value() ? Ok() : AsRefusal(spec, parsed.error());
}

Status RequireAbsolute(const SettingSpec& spec, std::string_view path) {
  if (!path.starts_with('/')) {
    return InvalidSetting(spec, "it is not an absolute path")
        .WithHint(
            "Give the full path, because the server and vezactl run in different directories.");
  }
  return Ok();
}

bool IsPlainText(std::string_view value) {
  return std::ranges::all_of(value, [](char c) { return c > ' ' && c <= '~'; });
}

Status CheckFileOf(const SettingSpec& spec, std::string_view value,
                   Status (*check_content)(const SettingSpec&, std::string_view)) {
  RETURN_IF_ERROR(RequireAbsolute(spec, value));
  ASSIGN_OR_RETURN(const SecretString content, ReadSecretFile(std::string(value)));
  return check_content(spec, content.text());
}

Status CheckCustomerKey(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(CheckKey(spec, value));
  return OutcomeOf(spec, ParseS3CustomerKey(value));
}

Status CheckProxyLogin(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(CheckKey(spec, value));
  const std::size_t colon = value.find(':');
  if (colon == 0 || colon == std::string_view::npos) {
    return InvalidSetting(spec, "the file does not hold \"user:password\"")
        .WithHint("Write user name and password into one line, with a colon between them.");
  }
  return Ok();
}

}  // namespace

Error PlaceholderError(const SettingSpec& spec) {
  return InvalidSetting(spec, "it is a placeholder")
      .WithHint("Replace it with a value of your own.");
}

Status CheckRepository(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, ParseRepositoryUrl(value));
}

Status CheckCluster(const SettingSpec& spec, std::string_view value) {
  constexpr const char* kHint = "Use letters, digits, dots, underscores and hyphens.";
  if (value.size() > 128) {
    return InvalidSetting(spec, "it is longer than 128 bytes").WithHint(kHint);
  }
  if (value.starts_with('.')) {
    return InvalidSetting(spec, "it begins with a dot").WithHint(kHint);
  }
  if (!std::ranges::all_of(value, IsNameCharacter)) {
    return InvalidSetting(spec, "it contains a character that is not allowed").WithHint(kHint);
  }
  return Ok();
}

Status CheckS3Endpoint(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, CheckEndpoint(value));
}

Status CheckS3Proxy(const SettingSpec& spec, std::string_view value) {
  constexpr const char* kHint = "Write it as \"http://host:port\".";
  // Nothing is quoted, because what stands before an '@' may be a password.
  if (value.find('@') != std::string_view::npos) {
    return InvalidSetting(spec, "it contains a user name or a password")
        .WithHint(
            "Put \"user:password\" into a file of its own, and set "
            "veza_backup.s3_proxy_login_file to its path.");
  }
  if (!value.starts_with("http://")) {
    return InvalidSetting(spec, "it does not begin with \"http://\"").WithHint(kHint);
  }
  if (const auto status = CheckEndpoint(value); !status.has_value()) {
    return InvalidSetting(spec, status.error().message).WithHint(kHint);
  }
  // libcurl's default for a proxy is 1080, which nobody expects.
  if (value.ends_with(']') || value.find_last_of(':') < std::string_view("http://").size()) {
    return InvalidSetting(spec, "it has no port").WithHint(kHint);
  }
  return Ok();
}

Status CheckStorageClass(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, CheckS3StorageClass(value));
}

Status CheckKmsKeyId(const SettingSpec& spec, std::string_view value) {
  constexpr std::size_t kLongest = 2048;  // of an ARN
  if (value.size() > kLongest || !IsPlainText(value)) {
    return InvalidSetting(spec, "it is not the id of a key")
        .WithHint("Give the id, the alias or the ARN of a key.");
  }
  return Ok();
}

Status CheckTags(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, ParseS3Tags(value));
}

Status CheckRegion(const SettingSpec& spec, std::string_view value) {
  if (value.size() > 64 || !std::ranges::all_of(value, IsNameCharacter)) {
    return InvalidSetting(spec, "it is not the name of a region")
        .WithHint("Give a name such as \"us-east-1\".");
  }
  return Ok();
}

// The directory need not exist yet, because the collector may create it later.
Status CheckMetricsFile(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(RequireAbsolute(spec, value));
  if (!value.ends_with(".prom")) {
    return InvalidSetting(spec, "its name does not end with \".prom\"")
        .WithHint("The textfile collector of node_exporter reads only files with that suffix.");
  }
  return Ok();
}

Status CheckCaFile(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(RequireAbsolute(spec, value));
  const std::string path(value);
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || access(path.c_str(), R_OK) != 0) {
    return ErrnoError(errno, fmt::format("could not read CA file \"{}\"", path))
        .WithHint("Give a file with certificates in PEM format that PostgreSQL's user can read.");
  }
  if (!S_ISREG(status.st_mode)) {
    return InvalidSetting(spec, fmt::format("CA file \"{}\" is not a regular file", path));
  }
  return Ok();
}

Status CheckKey(const SettingSpec& spec, std::string_view value) {
  return IsPlaceholderSecret(value) ? Status(PlaceholderError(spec)) : Ok();
}

Status CheckPassphrase(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(CheckKey(spec, value));
  // Counts characters, not bytes: continuation bytes of UTF-8 do not count.
  const auto characters = std::ranges::count_if(
      value, [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; });
  if (static_cast<std::size_t>(characters) < kMinPassphraseCharacters) {
    return InvalidSetting(spec, fmt::format("the passphrase has fewer than {} characters",
                                            kMinPassphraseCharacters))
        .WithHint(
            "Use a random passphrase, for example the output of \"openssl rand -base64 24\".");
  }
  return Ok();
}

Status CheckKeyFile(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(RequireAbsolute(spec, value));
  ASSIGN_OR_RETURN(const SecretString content, ReadCredentialFile(std::string(value), kTokenFile));
  return CheckKey(spec, content.text());
}

Status CheckRotatingFile(const SettingSpec& spec, std::string_view value) {
  return RequireAbsolute(spec, value);
}

Status CheckProfile(const SettingSpec& spec, std::string_view value) {
  if (value.size() > 256 || value.find_first_of("[]") != std::string_view::npos ||
      value.front() == ' ' || value.back() == ' ') {
    return InvalidSetting(spec, "it is not the name of a profile")
        .WithHint("Give the name as it stands between the brackets of the credentials file.");
  }
  return Ok();
}

Status CheckRoleArn(const SettingSpec& spec, std::string_view value) {
  constexpr std::size_t kLongest = 2048;
  if (value.size() > kLongest || !value.starts_with("arn:") || !IsPlainText(value)) {
    return InvalidSetting(spec, "it is not the ARN of a role")
        .WithHint("Give an ARN such as \"arn:aws:iam::123456789012:role/backup\".");
  }
  return Ok();
}

Status CheckRoleSessionName(const SettingSpec& spec, std::string_view value) {
  if (value.size() < 2 || value.size() > 64 || !std::ranges::all_of(value, [](char c) {
        return IsNameCharacter(c) || c == '+' || c == '=' || c == ',' || c == '@';
      })) {
    return InvalidSetting(spec, "it is not the name of a session")
        .WithHint("Give 2 to 64 letters, digits or characters of \"_+=,.@-\".");
  }
  return Ok();
}

Status CheckStsEndpoint(const SettingSpec& spec, std::string_view value) {
  RETURN_IF_ERROR(CheckS3Endpoint(spec, value));
  if (!MayBeAskedForCredentials(std::string(value))) {
    return InvalidSetting(spec, "a token would be sent in clear over the network")
        .WithHint("Begin it with \"https://\". Only this machine does without, as a number.");
  }
  return Ok();
}

Status CheckCustomerKeyFile(const SettingSpec& spec, std::string_view value) {
  return CheckFileOf(spec, value, CheckCustomerKey);
}

Status CheckProxyLoginFile(const SettingSpec& spec, std::string_view value) {
  return CheckFileOf(spec, value, CheckProxyLogin);
}

Status CheckPassphraseFile(const SettingSpec& spec, std::string_view value) {
  return CheckFileOf(spec, value, CheckPassphrase);
}

Status CheckSchedule(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, ParseCron(value));
}

Status CheckRetentionKeep(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, ParseRetentionKeep(value));
}

Status CheckTimeZone(const SettingSpec& spec, std::string_view value) {
  return OutcomeOf(spec, TimeZone::Find(value));
}

}  // namespace veza
