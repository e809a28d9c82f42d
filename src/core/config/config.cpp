#include "core/config/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <thread>

#include "core/ascii.h"
#include "core/config/conf_parser.h"
#include "core/config/credential_choice.h"
#include "core/config/repository_url.h"
#include "core/config/settings_in_force.h"
#include "core/s3/s3_address.h"
#include "core/secret_file.h"

namespace veza {
namespace {

constexpr const char* kDefaultRegion = "us-east-1";

Status ResolveProxy(const SettingsInForce& settings, S3Options& options) {
  options.proxy = settings.Text("s3_proxy");
  const std::string file = settings.Text("s3_proxy_login_file");
  if (file.empty()) {
    return Ok();
  }
  if (options.proxy.empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"veza_backup.s3_proxy_login_file\" is set, but \"veza_backup.s3_proxy\" is "
                     "not")
        .WithHint("Set veza_backup.s3_proxy to \"http://host:port\", or remove the login.");
  }
  ASSIGN_OR_RETURN(options.proxy_login, ReadSecretFile(file));
  return Ok();
}

S3Encryption EncryptionOf(std::string_view choice) {
  return choice == "aes256"         ? S3Encryption::kAes256
         : choice == "aws:kms"      ? S3Encryption::kKms
         : choice == "customer-key" ? S3Encryption::kCustomerKey
                                    : S3Encryption::kNone;
}

// A setting that has no effect without a kind of encryption must not be taken for encryption.
Status RequireEncryption(const SettingsInForce& settings, std::string_view name,
                         std::string_view kind) {
  if (settings.Text(name).empty() || settings.Choice("s3_sse") == kind) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "\"veza_backup.{}\" is set, but \"veza_backup.s3_sse\" is not \"{}\"", name,
                   kind)
      .WithHint(fmt::format("Set veza_backup.s3_sse = '{}', or remove the key.", kind));
}

Status ResolveEncryption(const SettingsInForce& settings, S3Options& options) {
  constexpr std::string_view kKeyFile = "s3_sse_customer_key_file";
  options.objects.encryption = EncryptionOf(settings.Choice("s3_sse"));
  options.objects.kms_key_id = settings.Text("s3_sse_kms_key_id");
  RETURN_IF_ERROR(RequireEncryption(settings, "s3_sse_kms_key_id", "aws:kms"));
  RETURN_IF_ERROR(RequireEncryption(settings, kKeyFile, "customer-key"));
  if (options.objects.encryption != S3Encryption::kCustomerKey) {
    return Ok();
  }
  if (settings.Text(kKeyFile).empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"veza_backup.s3_sse\" is \"customer-key\", but there is no key")
        .WithHint("Set veza_backup.s3_sse_customer_key_file.");
  }
  if (!options.endpoint.starts_with("https://")) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a customer's key would be sent in clear to the S3 server")
        .WithHint("Set veza_backup.s3_endpoint to an address that begins with https://.");
  }
  ASSIGN_OR_RETURN(const SecretString text, ReadSecretFile(settings.Text(kKeyFile)));
  ASSIGN_OR_RETURN(options.objects.customer_key, ParseS3CustomerKey(text.text()));
  return Ok();
}

Status ResolveObjects(const SettingsInForce& settings, S3Options& options) {
  const std::string_view checksum = settings.Choice("s3_checksum");
  options.objects.checksum = checksum == "sha256" ? S3Checksum::kSha256
                             : checksum == "md5"  ? S3Checksum::kMd5
                                                  : S3Checksum::kNone;
  options.objects.storage_class = settings.Text("s3_storage_class");
  ASSIGN_OR_RETURN(options.objects.tags, ParseS3Tags(settings.Text("s3_tags")));
  return ResolveEncryption(settings, options);
}

Status ResolveS3(const SettingsInForce& settings, const EnvLookup& environment, RepositoryUrl url,
                 Config& config) {
  S3Options& options = config.s3;
  options.bucket = std::move(url.bucket);
  options.prefix = std::move(url.prefix);
  options.region = settings.Text("s3_region");
  if (options.region.empty()) {
    ASSIGN_OR_RETURN(options.region, FromEnvironment(environment, "AWS_REGION", "s3_region"));
  }
  if (options.region.empty()) {
    options.region = kDefaultRegion;
  }
  options.endpoint = settings.Text("s3_endpoint");
  if (options.endpoint.empty()) {
    options.endpoint = AwsEndpoint(options.region);
  }
  options.uri_style =
      settings.Choice("s3_uri_style") == "path" ? S3UriStyle::kPath : S3UriStyle::kVirtualHost;
  options.ca_file = settings.Text("s3_ca_file");
  if (options.ca_file.empty()) {
    ASSIGN_OR_RETURN(options.ca_file, FromEnvironment(environment, "AWS_CA_BUNDLE", "s3_ca_file"));
  }
  options.verify_tls = settings.Boolean("s3_verify_tls");
  options.max_connections = config.s3_connections;
  options.total_timeout = std::chrono::seconds(settings.Integer("s3_request_timeout"));
  RETURN_IF_ERROR(ResolveProxy(settings, options));
  RETURN_IF_ERROR(ResolveObjects(settings, options));
  config.looks_before_writes = settings.Choice("s3_conditional_writes") == "look";
  return ResolveCredentials(settings, environment, options);
}

ArchiveSettings ArchiveSettingsOf(const SettingsInForce& settings) {
  const auto kilobytes = [&](const char* name) {
    return static_cast<std::uint64_t>(settings.Integer(name)) * 1024;
  };
  return {.look_ahead = settings.Integer("archive_look_ahead"),
          .memory = kilobytes("archive_memory"),
          .adaptive_compression = settings.Boolean("adaptive_compression"),
          .wal_index = settings.Boolean("wal_index"),
          .max_age = std::chrono::seconds(settings.Integer("archive_max_age")),
          .retry_timeout = std::chrono::seconds(settings.Integer("archive_retry_timeout")),
          .shutdown_timeout = std::chrono::seconds(settings.Integer("archive_shutdown_timeout")),
          .drop_below = kilobytes("archive_drop_below"),
          .backup_after_gap = settings.Boolean("backup_after_gap")};
}

Status ResolvePassphrase(const SettingsInForce& settings, Config& config) {
  ASSIGN_OR_RETURN(config.passphrase, SecretOf(settings, "cipher_passphrase"));
  config.passphrase_command = settings.Text("cipher_passphrase_command");
  if (!config.passphrase.empty() && !config.passphrase_command.empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"veza_backup.cipher_passphrase_command\" is set beside another passphrase")
        .WithHint(
            "Keep one of veza_backup.cipher_passphrase_command, veza_backup.cipher_passphrase_file "
            "and veza_backup.cipher_passphrase, and remove the others.");
  }
  return Ok();
}

// Whether a repository of that kind is not encrypted because nothing says that it should be.
bool NeedsNoCipher(const SettingsInForce& settings, RepositoryKind kind) {
  return settings.Choice("cipher").empty() && !settings.IsSet("cipher_passphrase") &&
         !settings.IsSet("cipher_passphrase_file") &&
         !settings.IsSet("cipher_passphrase_command") && kind == RepositoryKind::kDirectory;
}

Status ResolveCipher(const SettingsInForce& settings, Config& config) {
  RETURN_IF_ERROR(ResolvePassphrase(settings, config));
  const bool has_passphrase = !config.passphrase.empty() || !config.passphrase_command.empty();
  const std::string_view asked = settings.Choice("cipher");
  if (asked == "none" || NeedsNoCipher(settings, config.kind)) {
    config.cipher = Cipher::kNone;
  } else if (asked == "aes-256-cbc") {
    config.cipher = Cipher::kAes256Cbc;
  } else {
    config.cipher = Cipher::kAes256Gcm;
  }
  if (config.cipher == Cipher::kNone && has_passphrase) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a passphrase is configured although \"veza_backup.cipher\" is \"none\"")
        .WithHint("Remove the passphrase, or choose a cipher.");
  }
  if (config.cipher != Cipher::kNone && !has_passphrase) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "no passphrase is configured, but the cipher is \"{}\"{}",
                     config.cipher == Cipher::kAes256Cbc ? "aes-256-cbc" : "aes-256-gcm",
                     asked.empty() ? ", the default for S3" : "")
        .WithHint(
            "Set veza_backup.cipher_passphrase_file or veza_backup.cipher_passphrase_command, or "
            "veza_backup.cipher = 'none' to store everything unencrypted.");
  }
  return Ok();
}

Result<std::optional<Schedule>> ScheduleOf(const SettingsInForce& settings, std::string_view name,
                                           const TimeZone& zone) {
  const std::string text = settings.Text(name);
  if (text.empty()) {
    return std::optional<Schedule>();
  }
  ASSIGN_OR_RETURN(Schedule schedule, Schedule::Parse(text, zone));
  return std::optional(std::move(schedule));
}

Status ResolveSchedule(const SettingsInForce& settings, ScheduleSettings& schedule) {
  ASSIGN_OR_RETURN(schedule.zone, TimeZone::Find(settings.Text("schedule_timezone")));
  ASSIGN_OR_RETURN(schedule.full, ScheduleOf(settings, "schedule_full", schedule.zone));
  ASSIGN_OR_RETURN(schedule.diff, ScheduleOf(settings, "schedule_diff", schedule.zone));
  ASSIGN_OR_RETURN(schedule.incr, ScheduleOf(settings, "schedule_incr", schedule.zone));
  schedule.jitter = std::chrono::seconds(settings.Integer("schedule_jitter"));
  const std::string_view from = settings.Choice("backup_from");
  schedule.backup_from = from == "primary"   ? BackupFrom::kPrimary
                         : from == "standby" ? BackupFrom::kStandby
                                             : BackupFrom::kPreferStandby;
  return Ok();
}

Result<ScheduledCommand> CommandOf(const SettingsInForce& settings, std::string_view name,
                                   const TimeZone& zone) {
  ScheduledCommand result;
  ASSIGN_OR_RETURN(result.schedule, ScheduleOf(settings, fmt::format("schedule_{}", name), zone));
  result.command = settings.Text(fmt::format("{}_command", name));
  if (result.schedule && result.command.empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"veza_backup.schedule_{0}\" is set, but \"veza_backup.{0}_command\" is not",
                     name)
        .WithHint(fmt::format("Set it to a command such as \"vezactl --config FILE {}\", with the "
                              "absolute path of the program.",
                              name));
  }
  return result;
}

// Settings by which whoever can write the file can have this account run any command, or send the
// content of its files to any server.
constexpr const char* kOnlyFromTrustedFiles[] = {"cipher_passphrase_command", "mirror_config",
                                                 "s3_access_key_file", "s3_session_token_file",
                                                 "s3_web_identity_token_file"};

Status RequireTrustedFile(const SettingValue& value, std::string_view setting) {
  const bool is_owned = value.writers.owner == 0 || value.writers.owner == geteuid();
  if (is_owned && !value.writers.others) {
    return Ok();
  }
  return MakeError(ErrorCode::kPermissionDenied, "file \"{}\" sets \"veza_backup.{}\", but {}",
                   value.file, setting,
                   is_owned ? "its group or others can write it"
                            : "another account than yours and root owns it")
      .WithHint("Let root own the file, and let nobody else write it.");
}

Status RequireTrustedFiles(const SettingValues& values, const EnvLookup& environment,
                           RepositoryKind kind) {
  std::vector<std::string_view> names(std::begin(kOnlyFromTrustedFiles),
                                      std::end(kOnlyFromTrustedFiles));
  if (kind == RepositoryKind::kS3) {
    std::ranges::copy(SettingsThatLeadAToken(SettingsInForce(values), environment),
                      std::back_inserter(names));
  }
  for (const std::string_view name : names) {
    const auto set = values.find(name);
    if (set != values.end() && !set->second.text.empty()) {
      RETURN_IF_ERROR(RequireTrustedFile(set->second, name));
    }
  }
  return Ok();
}

// Whether a place is another one, or lies in it.
bool IsWithin(std::string_view place, std::string_view other) {
  return other.empty() || place == other ||
         (place.starts_with(other) && place[other.size()] == '/');
}

// An endpoint without its scheme's default port, to compare it.
std::string WithoutDefaultPort(const std::string& endpoint) {
  const std::optional<HttpUrl> url = ParseHttpUrl(endpoint);
  if (!url) {
    return endpoint;
  }
  const bool is_default = url->port.empty() || url->port == (url->scheme == "https" ? "443" : "80");
  return fmt::format("{}://{}{}", url->scheme, LowerCase(url->host),
                     is_default ? "" : ":" + url->port);
}

Status RequireApart(const SettingsInForce& settings, const SettingsInForce& of_mirror,
                    const RepositoryUrl& mirror) {
  const auto first = ParseRepositoryUrl(settings.Text("repository"));
  if (!first || first->kind != mirror.kind || first->bucket != mirror.bucket ||
      (mirror.kind == RepositoryKind::kS3 &&
       WithoutDefaultPort(settings.Text("s3_endpoint")) !=
           WithoutDefaultPort(of_mirror.Text("s3_endpoint")))) {
    return Ok();
  }
  const std::string one = first->directory + first->prefix;
  const std::string two = mirror.directory + mirror.prefix;
  if (!IsWithin(one, two) && !IsWithin(two, one)) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "\"veza_backup.mirror\" and \"veza_backup.repository\" are one place, or one of "
                   "them lies in the other")
      .WithHint("Let the mirror be a place of its own, best in another data center and account.");
}

Status RequireOnlyS3Settings(const SettingValues& mirror_values) {
  for (const auto& [name, value] : mirror_values) {
    if (!IsOfS3Alone(name)) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "{} sets \"veza_backup.{}\", which is not of the mirror alone", value.source,
                       name)
          .WithHint(
              "Only settings that begin with \"veza_backup.s3_\" may stand in the file of "
              "veza_backup.mirror_config, except s3_connections.");
    }
  }
  return Ok();
}

// What the mirror is reached with, in place of what the repository is reached with. The caller
// wipes it.
SettingValues ValuesOfMirror(const SettingValues& values, const SettingValues& mirror_values) {
  const bool has_own = SettingsInForce(values).IsSet("mirror_config");
  SettingValues own = has_own ? mirror_values : SettingValues();
  for (const auto& [name, value] : values) {
    if (!has_own || !IsOfS3Alone(name)) {
      own[name] = value;
    }
  }
  own["repository"].text = SettingsInForce(values).Text("mirror");
  return own;
}

// A repository without a cipher in a directory is not encrypted because nobody asked for it. That
// is no consent to store it in clear at somebody else's.
Status RequireConsentToNoCipher(const SettingsInForce& settings, RepositoryKind mirror) {
  const auto first = ParseRepositoryUrl(settings.Text("repository"));
  if (!first || mirror != RepositoryKind::kS3 || !NeedsNoCipher(settings, first->kind)) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "the repository is not encrypted, and \"veza_backup.mirror\" would store it on "
                   "S3 as it is")
      .WithHint(
          "Set veza_backup.cipher = 'none' if that is meant. Otherwise begin a new repository with "
          "a passphrase, and mirror that.");
}

// The variables AWS_… of the process are the keys of the first repository, which the mirror must
// not get to see. Only what tells where a container or an instance asks for its role is left.
EnvLookup EnvironmentOfMirror(const SettingsInForce& settings, const EnvLookup& environment) {
  if (!settings.IsSet("mirror_config")) {
    return environment;
  }
  return [environment](const char* name) -> std::optional<std::string> {
    const std::string_view variable = name;
    return variable.starts_with("AWS_CONTAINER_") || variable.starts_with("AWS_EC2_METADATA_")
               ? environment(name)
               : std::nullopt;
  };
}

// Without a choice, the role of the container or of the machine would be tried, which is mostly
// that of the first repository.
Status RequireOwnCredentials(const SettingsInForce& settings, const SettingsInForce& of_mirror,
                             RepositoryKind mirror) {
  if (mirror != RepositoryKind::kS3 || !settings.IsSet("mirror_config") ||
      SettingsNameCredentials(of_mirror)) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "the file of \"veza_backup.mirror_config\" has no credentials for the mirror")
      .WithHint(
          "Set veza_backup.s3_access_key_file and veza_backup.s3_secret_key_file there, or "
          "veza_backup.s3_credentials. The environment's keys are those of the repository, and are "
          "not sent to the mirror.");
}

Result<SettingValues> ReadValues(const std::string& path) {
  ASSIGN_OR_RETURN(SettingValues values, ParseConfFile(path));
  std::erase_if(values, [](const auto& entry) {
    const SettingSpec* const spec = FindSetting(entry.first);
    return spec != nullptr && spec->server_only;
  });
  return values;
}

}  // namespace

EnvLookup ProcessEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here sets variables
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

Result<Config> BuildConfig(const SettingValues& values, const EnvLookup& environment) {
  const SettingsInForce settings(values);
  RETURN_IF_ERROR(settings.Validate());
  const std::string repository = settings.Text("repository");
  if (repository.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "no repository is configured")
        .WithHint("Set veza_backup.repository to \"s3://bucket/prefix\" or an absolute directory.");
  }
  Config config;
  ASSIGN_OR_RETURN(RepositoryUrl url, ParseRepositoryUrl(repository));
  config.kind = url.kind;
  config.inline_secrets = settings.InlineSecrets();
  config.compression_level = settings.Integer("compression_level");
  config.jobs = settings.Integer("jobs");
  if (config.jobs == 0) {
    config.jobs = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 256U));
  }
  config.s3_connections = settings.Integer("s3_connections");
  config.max_rate = static_cast<std::uint64_t>(settings.Integer("max_rate")) * 1024;
  config.changes_by_wal = settings.Choice("find_changes") == "wal";
  config.archive = ArchiveSettingsOf(settings);
  config.metrics_file = settings.Text("metrics_file");
  config.backup_wal_timeout = std::chrono::seconds(settings.Integer("backup_wal_timeout"));
  config.backup_retry_timeout = std::chrono::seconds(settings.Integer("backup_retry_timeout"));
  config.restore_retry_timeout = std::chrono::seconds(settings.Integer("restore_retry_timeout"));
  config.retention_full = settings.Integer("retention_full");
  config.retention_diff = settings.Integer("retention_diff");
  config.retention_incr = settings.Integer("retention_incr");
  config.retention_archive = settings.Integer("retention_archive");
  config.retention_window = std::chrono::seconds(settings.Integer("retention_window"));
  ASSIGN_OR_RETURN(config.retention_keep, ParseRetentionKeep(settings.Text("retention_keep")));
  if (config.kind == RepositoryKind::kS3) {
    RETURN_IF_ERROR(ResolveS3(settings, environment, std::move(url), config));
  } else {
    config.directory = std::move(url.directory);
  }
  config = ClusterBelow(std::move(config), settings.Text("cluster"));
  RETURN_IF_ERROR(ResolveCipher(settings, config));
  RETURN_IF_ERROR(ResolveSchedule(settings, config.schedule));
  ASSIGN_OR_RETURN(config.drill, CommandOf(settings, "drill", config.schedule.zone));
  ASSIGN_OR_RETURN(config.verify, CommandOf(settings, "verify", config.schedule.zone));
  return config;
}

Config RootOf(Config config) {
  const auto without_cluster = [&](std::string& place) {
    place.resize(place.size() - config.cluster.size());
    if (place.ends_with('/')) {
      place.pop_back();
    }
  };
  without_cluster(config.kind == RepositoryKind::kS3 ? config.s3.prefix : config.directory);
  config.cluster.clear();
  return config;
}

Config ClusterBelow(Config root, const std::string& cluster) {
  root.cluster = cluster;
  std::string& place = root.kind == RepositoryKind::kS3 ? root.s3.prefix : root.directory;
  place += (place.empty() ? "" : "/") + cluster;
  return root;
}

Result<Config> LoadConfig(const std::string& path) {
  ASSIGN_OR_RETURN(SettingValues values, ReadValues(path));
  const EnvLookup environment = ProcessEnvironment();
  Result<Config> config = BuildConfig(values, environment);
  const Status trusted = config ? RequireTrustedFiles(values, environment, config->kind) : Ok();
  WipeSecrets(values);
  RETURN_IF_ERROR(trusted);
  return config;
}

Result<Config> BuildMirrorConfig(const SettingValues& values, const SettingValues& mirror_values,
                                 const EnvLookup& environment) {
  const SettingsInForce settings(values);
  const std::string place = settings.Text("mirror");
  if (place.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "no mirror is configured")
        .WithHint("Set veza_backup.mirror to \"s3://bucket/prefix\" or an absolute directory.");
  }
  for (const char* const name : {"mirror", "cipher"}) {
    RETURN_IF_ERROR(ValidateSetting(*FindSetting(name), settings.Text(name)));
  }
  RETURN_IF_ERROR(RequireOnlyS3Settings(mirror_values));
  ASSIGN_OR_RETURN(const RepositoryUrl url, ParseRepositoryUrl(place));
  SettingValues own = ValuesOfMirror(values, mirror_values);
  Result<Config> config = [&]() -> Result<Config> {
    const SettingsInForce of_mirror(own);
    RETURN_IF_ERROR(RequireApart(settings, of_mirror, url));
    RETURN_IF_ERROR(RequireOwnCredentials(settings, of_mirror, url.kind));
    RETURN_IF_ERROR(RequireConsentToNoCipher(settings, url.kind));
    return BuildConfig(own, EnvironmentOfMirror(settings, environment));
  }();
  WipeSecrets(own);
  return config;
}

Result<Config> LoadMirrorConfig(const std::string& path) {
  ASSIGN_OR_RETURN(SettingValues values, ReadValues(path));
  SettingValues mirror_values;
  const EnvLookup environment = ProcessEnvironment();
  Result<Config> config = [&]() -> Result<Config> {
    const SettingsInForce settings(values);
    if (settings.IsSet("mirror") && settings.IsSet("mirror_config")) {
      ASSIGN_OR_RETURN(mirror_values, ParseConfFile(settings.Text("mirror_config")));
    }
    ASSIGN_OR_RETURN(Config built, BuildMirrorConfig(values, mirror_values, environment));
    SettingValues own = ValuesOfMirror(values, mirror_values);
    const Status trusted =
        RequireTrustedFiles(own, EnvironmentOfMirror(settings, environment), built.kind);
    WipeSecrets(own);
    RETURN_IF_ERROR(trusted);
    return built;
  }();
  WipeSecrets(values);
  WipeSecrets(mirror_values);
  return config;
}

}  // namespace veza
