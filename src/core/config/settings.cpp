#include "core/config/settings.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/ascii.h"
#include "core/config/placeholder.h"
#include "core/config/retention_keep.h"
#include "core/config/setting_checks.h"
#include "core/secret_string.h"

namespace veza {
namespace {

constexpr const char* kUriStyles[] = {"path", "virtual-host"};
constexpr const char* kConditionalWrites[] = {"required", "look"};
constexpr const char* kCredentialProviders[] = {"static",    "profile",  "web-identity",
                                                "container", "instance", "auto"};
constexpr const char* kChecksums[] = {"sha256", "md5", "none"};
constexpr const char* kEncryptions[] = {"", "aes256", "aws:kms", "customer-key"};
constexpr const char* kFindChanges[] = {"wal", "contents"};
constexpr const char* kCiphers[] = {"", "aes-256-gcm", "aes-256-cbc", "none"};
constexpr const char* kBackupFrom[] = {"primary", "standby", "prefer-standby"};

constexpr std::array kSettings = {
    SettingSpec{
        .name = "repository",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Where backups and WAL are stored: s3://bucket/prefix or an absolute "
                       "directory; empty turns veza_backup off.",
        .check = CheckRepository,
    },
    SettingSpec{
        .name = "cluster",
        .type = SettingType::kString,
        .default_value = "main",
        .description = "Name of this cluster in the repository.",
        .check = CheckCluster,
    },
    SettingSpec{
        .name = "mirror",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Where vezactl mirror copies the repository to: s3://bucket/prefix or an "
                       "absolute directory; empty means nowhere.",
        .check = CheckRepository,
    },
    SettingSpec{
        .name = "mirror_config",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File with the s3_ settings, credentials above all, by which the mirror is "
                       "reached; empty means those of the repository.",
        .check = CheckRotatingFile,
    },
    SettingSpec{
        .name = "s3_endpoint",
        .type = SettingType::kString,
        .default_value = "",
        .description = "URL of the S3 server; empty means the AWS endpoint of the region.",
        .check = CheckS3Endpoint,
    },
    SettingSpec{
        .name = "s3_region",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Region of the S3 server; empty means the environment variable AWS_REGION, "
                       "or else us-east-1.",
        .check = CheckRegion,
    },
    SettingSpec{
        .name = "s3_uri_style",
        .type = SettingType::kEnum,
        .default_value = "path",
        .description = "Whether requests name the bucket in the path or in the host name.",
        .choices = kUriStyles,
    },
    SettingSpec{
        .name = "s3_credentials",
        .type = SettingType::kEnum,
        .default_value = "static",
        .description = "Where the credentials for S3 come from.",
        .choices = kCredentialProviders,
    },
    SettingSpec{
        .name = "s3_access_key",
        .type = SettingType::kString,
        .default_value = "",
        .description =
            "Access key ID for S3; empty means the environment variable AWS_ACCESS_KEY_ID.",
        .check = CheckKey,
    },
    SettingSpec{
        .name = "s3_access_key_file",
        .type = SettingType::kString,
        .default_value = "",
        .description =
            "File that contains the access key ID for S3; read again when it changes, if "
            "the secret access key is in a file, too.",
        .check = CheckKeyFile,
    },
    SettingSpec{
        .name = "s3_secret_key",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Secret access key for S3; s3_secret_key_file is the better place for it.",
        .secret = true,
        .check = CheckKey,
    },
    SettingSpec{
        .name = "s3_secret_key_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that contains the secret access key for S3; if s3_secret_key is "
                       "empty, too, the environment variable AWS_SECRET_ACCESS_KEY is used.",
        .check = CheckKeyFile,
    },
    SettingSpec{
        .name = "s3_session_token",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Session token of temporary S3 credentials; s3_session_token_file is the "
                       "better place for it.",
        .secret = true,
        .check = CheckKey,
    },
    SettingSpec{
        .name = "s3_session_token_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that contains the session token of temporary S3 credentials; read "
                       "again when it changes, if both keys are in files, too.",
        .check = CheckRotatingFile,
    },
    SettingSpec{
        .name = "s3_credentials_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Credentials file of AWS for s3_credentials = 'profile'; empty means the "
                       "environment variable AWS_SHARED_CREDENTIALS_FILE, or else "
                       "~/.aws/credentials.",
        .check = CheckRotatingFile,
    },
    SettingSpec{
        .name = "s3_profile",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Profile in s3_credentials_file; empty means the environment variable "
                       "AWS_PROFILE, or else default.",
        .check = CheckProfile,
    },
    SettingSpec{
        .name = "s3_role_arn",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Role of s3_credentials = 'web-identity'; empty means the environment "
                       "variable AWS_ROLE_ARN.",
        .check = CheckRoleArn,
    },
    SettingSpec{
        .name = "s3_role_session_name",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Name of the session in that role, for the provider's logs; empty means the "
                       "environment variable AWS_ROLE_SESSION_NAME, or else veza_backup.",
        .check = CheckRoleSessionName,
    },
    SettingSpec{
        .name = "s3_web_identity_token_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that contains the token for that role; empty means the environment "
                       "variable AWS_WEB_IDENTITY_TOKEN_FILE.",
        .check = CheckRotatingFile,
    },
    SettingSpec{
        .name = "s3_sts_endpoint",
        .type = SettingType::kString,
        .default_value = "",
        .description = "URL of the service that gives credentials for that role; empty means the "
                       "environment variable AWS_ENDPOINT_URL_STS, or else AWS's in the region.",
        .check = CheckStsEndpoint,
    },
    SettingSpec{
        .name = "s3_ca_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File of certificates to trust for S3; empty means the environment variable "
                       "AWS_CA_BUNDLE, or else the certificates of the system.",
        .check = CheckCaFile,
    },
    SettingSpec{
        .name = "s3_verify_tls",
        .type = SettingType::kBool,
        .default_value = "on",
        .description = "Whether the certificate of the S3 server is verified.",
    },
    SettingSpec{
        .name = "s3_proxy",
        .type = SettingType::kString,
        .default_value = "",
        .description = "URL of the HTTP proxy on the way to the S3 server; empty means none, "
                       "whatever the environment says.",
        .check = CheckS3Proxy,
    },
    SettingSpec{
        .name = "s3_proxy_login_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that contains \"user:password\" for s3_proxy.",
        .check = CheckProxyLoginFile,
    },
    SettingSpec{
        .name = "s3_request_timeout",
        .type = SettingType::kInteger,
        .default_value = "600",
        .description = "How long one request to the S3 server may take.",
        .min = 1,
        .max = 86400,
        .unit = SettingUnit::kSeconds,
    },
    SettingSpec{
        .name = "s3_checksum",
        .type = SettingType::kEnum,
        .default_value = "sha256",
        .description = "Checksum that goes along with each object to the S3 server.",
        .choices = kChecksums,
    },
    SettingSpec{
        .name = "s3_storage_class",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Storage class of new objects; empty means the bucket's default.",
        .check = CheckStorageClass,
    },
    SettingSpec{
        .name = "s3_sse",
        .type = SettingType::kEnum,
        .default_value = "",
        .description = "Encryption of new objects by the S3 server; empty means the bucket's "
                       "default.",
        .choices = kEncryptions,
    },
    SettingSpec{
        .name = "s3_sse_kms_key_id",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Key of the key management service that s3_sse = 'aws:kms' uses; empty "
                       "means the default key of the account.",
        .check = CheckKmsKeyId,
    },
    SettingSpec{
        .name = "s3_sse_customer_key_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that contains the 256-bit key of s3_sse = 'customer-key'.",
        .check = CheckCustomerKeyFile,
    },
    SettingSpec{
        .name = "s3_tags",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Tags of new objects: key=value, separated by commas.",
        .check = CheckTags,
    },
    SettingSpec{
        .name = "s3_conditional_writes",
        .type = SettingType::kEnum,
        .default_value = "required",
        .description =
            "Whether the S3 server must support conditional writes, so that two writers cannot "
            "overwrite each other, or whether looking before each write is enough.",
        .choices = kConditionalWrites,
    },
    SettingSpec{
        .name = "cipher",
        .type = SettingType::kEnum,
        .default_value = "",
        .description = "Encryption of objects; empty means aes-256-gcm on S3 or with a passphrase, "
                       "and none in a directory without a passphrase.",
        .choices = kCiphers,
    },
    SettingSpec{
        .name = "cipher_passphrase",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Passphrase that protects the data key of the repository; "
                       "cipher_passphrase_file is the better place for it.",
        .secret = true,
        .check = CheckPassphrase,
    },
    SettingSpec{
        .name = "cipher_passphrase_file",
        .type = SettingType::kString,
        .default_value = "",
        .description =
            "File that contains the passphrase that protects the data key of the repository.",
        .check = CheckPassphraseFile,
    },
    SettingSpec{
        .name = "cipher_passphrase_command",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Shell command that prints the passphrase that protects the data key of the "
                       "repository.",
        .superuser_only = true,
    },
    SettingSpec{
        .name = "compression_level",
        .type = SettingType::kInteger,
        .default_value = "3",
        .description = "Level of zstd compression.",
        .min = -7,
        .max = 19,
    },
    SettingSpec{
        .name = "jobs",
        .type = SettingType::kInteger,
        .default_value = "0",
        .description = "Number of threads that compress and encrypt; 0 means the number of CPUs.",
        .min = 0,
        .max = 256,
    },
    SettingSpec{
        .name = "s3_connections",
        .type = SettingType::kInteger,
        .default_value = "8",
        .description = "Maximum number of simultaneous requests to the repository.",
        .min = 1,
        .max = 256,
    },
    SettingSpec{
        .name = "backup_wal_timeout",
        .type = SettingType::kInteger,
        .default_value = "600",
        .description = "How long a backup waits for its WAL while no WAL reaches the repository.",
        .min = 1,
        .max = std::numeric_limits<int>::max() / 1000,
        .unit = SettingUnit::kSeconds,
    },
    SettingSpec{
        .name = "backup_retry_timeout",
        .type = SettingType::kInteger,
        .default_value = "21600",
        .description = "How long a backup that has begun to copy keeps trying while the repository "
                       "cannot be reached.",
        .min = 1,
        .max = std::numeric_limits<int>::max() / 1000,
        .unit = SettingUnit::kSeconds,
        .server_only = true,
    },
    SettingSpec{
        .name = "restore_retry_timeout",
        .type = SettingType::kInteger,
        .default_value = "60",
        .description = "How long a restore, a drill or a verification keeps trying while the "
                       "repository cannot be reached.",
        .min = 1,
        .max = std::numeric_limits<int>::max() / 1000,
        .unit = SettingUnit::kSeconds,
    },
    SettingSpec{
        .name = "retention_full",
        .type = SettingType::kInteger,
        .default_value = "4",
        .description =
            "Number of the newest full backups that are kept, with their diffs and incrs; 0 means "
            "all.",
        .min = 0,
        .max = kMaxRetention,
    },
    SettingSpec{
        .name = "retention_diff",
        .type = SettingType::kInteger,
        .default_value = "7",
        .description = "Number of the newest diff backups that are kept; 0 means all.",
        .min = 0,
        .max = kMaxRetention,
    },
    SettingSpec{
        .name = "retention_incr",
        .type = SettingType::kInteger,
        .default_value = "14",
        .description = "Number of the newest incr backups that are kept; 0 means all.",
        .min = 0,
        .max = kMaxRetention,
    },
    SettingSpec{
        .name = "retention_archive",
        .type = SettingType::kInteger,
        .default_value = "4",
        .description =
            "Number of the newest full backups since which all WAL is kept; 0 means that WAL "
            "is never removed.",
        .min = 0,
        .max = kMaxRetention,
    },
    SettingSpec{
        .name = "retention_window",
        .type = SettingType::kInteger,
        .default_value = "0",
        .description =
            "How far back every moment can be restored, whatever the numbers of retention "
            "say; 0 means that the numbers alone count.",
        .min = 0,
        .max = std::numeric_limits<int>::max(),
        .unit = SettingUnit::kSeconds,
    },
    SettingSpec{
        .name = "retention_keep",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Of how many days, weeks, months and years one backup is kept, whatever the "
                       "numbers of retention say.",
        .check = CheckRetentionKeep,
    },
    SettingSpec{
        .name = "max_rate",
        .type = SettingType::kInteger,
        .default_value = "0",
        .description = "Maximum amount of data per second that a backup reads; 0 means no limit.",
        .min = 0,
        .max = std::numeric_limits<int>::max(),
        .unit = SettingUnit::kKilobytes,
    },
    SettingSpec{
        .name = "find_changes",
        .type = SettingType::kEnum,
        .default_value = "wal",
        .description = "How a diff or an incr finds what has changed: it reads what WAL names, or "
                       "everything.",
        .choices = kFindChanges,
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_look_ahead",
        .type = SettingType::kInteger,
        .default_value = "8",
        .description = "Number of WAL files that are stored ahead of the one that the archiver "
                       "asks for; 0 means none.",
        .min = 0,
        .max = 64,
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_memory",
        .type = SettingType::kInteger,
        .default_value = "262144",
        .description = "Memory for WAL files that are being stored; what does not fit goes to "
                       "temporary files.",
        .min = 1024,
        .max = std::numeric_limits<int>::max(),
        .unit = SettingUnit::kKilobytes,
        .server_only = true,
    },
    SettingSpec{
        .name = "adaptive_compression",
        .type = SettingType::kBool,
        .default_value = "on",
        .description =
            "Whether WAL is compressed at a faster level while much WAL waits to be stored.",
        .server_only = true,
    },
    SettingSpec{
        .name = "wal_index",
        .type = SettingType::kBool,
        .default_value = "on",
        .description = "Whether an index is kept of what each WAL segment changes.",
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_max_age",
        .type = SettingType::kInteger,
        .default_value = "300",
        .description =
            "How long WAL may wait to be stored before a warning is logged; 0 means never.",
        .min = 0,
        .max = std::numeric_limits<int>::max() / 1000,
        .unit = SettingUnit::kSeconds,
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_retry_timeout",
        .type = SettingType::kInteger,
        .default_value = "10",
        .description = "How long a WAL file is tried again before PostgreSQL is told that "
                       "archiving it has failed.",
        .min = 1,
        .max = 3600,
        .unit = SettingUnit::kSeconds,
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_shutdown_timeout",
        .type = SettingType::kInteger,
        .default_value = "30",
        .description = "How long the server keeps storing WAL at shutdown while the repository can "
                       "be reached.",
        .min = 0,
        .max = 3600,
        .unit = SettingUnit::kSeconds,
        .server_only = true,
    },
    SettingSpec{
        .name = "archive_drop_below",
        .type = SettingType::kInteger,
        .default_value = "0",
        .description = "Free space on the file system of pg_wal below which WAL that cannot be "
                       "stored is dropped; 0 means never.",
        .min = 0,
        .max = std::numeric_limits<int>::max(),
        .unit = SettingUnit::kKilobytes,
        .server_only = true,
    },
    SettingSpec{
        .name = "backup_after_gap",
        .type = SettingType::kBool,
        .default_value = "on",
        .description = "Whether a backup is started when WAL was lost before it was archived.",
        .server_only = true,
    },
    SettingSpec{
        .name = "metrics_file",
        .type = SettingType::kString,
        .default_value = "",
        .description = "File that the server keeps up to date for the textfile collector of "
                       "node_exporter; empty means none.",
        .server_only = true,
        .check = CheckMetricsFile,
    },
    SettingSpec{
        .name = "schedule_full",
        .type = SettingType::kString,
        .default_value = "0 2 * * 0",
        .description = "When full backups are taken, as a cron expression of five fields; empty "
                       "means never.",
        .may_be_empty = true,
        .server_only = true,
        .check = CheckSchedule,
    },
    SettingSpec{
        .name = "schedule_diff",
        .type = SettingType::kString,
        .default_value = "0 2 * * 1-6",
        .description = "When diff backups are taken, as a cron expression of five fields; empty "
                       "means never.",
        .may_be_empty = true,
        .server_only = true,
        .check = CheckSchedule,
    },
    SettingSpec{
        .name = "schedule_incr",
        .type = SettingType::kString,
        .default_value = "",
        .description = "When incr backups are taken, as a cron expression of five fields; empty "
                       "means never.",
        .may_be_empty = true,
        .server_only = true,
        .check = CheckSchedule,
    },
    SettingSpec{
        .name = "schedule_drill",
        .type = SettingType::kString,
        .default_value = "",
        .description = "When this server starts drill_command, as a cron expression of five "
                       "fields; empty means never.",
        .server_only = true,
        .check = CheckSchedule,
    },
    SettingSpec{
        .name = "drill_command",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Shell command of the scheduled restore drill: vezactl drill with its "
                       "options.",
        .server_only = true,
    },
    SettingSpec{
        .name = "schedule_verify",
        .type = SettingType::kString,
        .default_value = "",
        .description = "When this server starts verify_command, as a cron expression of five "
                       "fields; empty means never.",
        .server_only = true,
        .check = CheckSchedule,
    },
    SettingSpec{
        .name = "verify_command",
        .type = SettingType::kString,
        .default_value = "",
        .description = "Shell command of the scheduled verification: vezactl verify with its "
                       "options.",
        .server_only = true,
    },
    SettingSpec{
        .name = "schedule_timezone",
        .type = SettingType::kString,
        .default_value = "UTC",
        .description = "Time zone of the schedules.",
        .server_only = true,
        .check = CheckTimeZone,
    },
    SettingSpec{
        .name = "schedule_jitter",
        .type = SettingType::kInteger,
        .default_value = "300",
        .description = "Maximum delay of scheduled backups; each node has its own delay.",
        .min = 0,
        .max = 86400,
        .unit = SettingUnit::kSeconds,
        .server_only = true,
    },
    SettingSpec{
        .name = "backup_from",
        .type = SettingType::kEnum,
        .default_value = "primary",
        .description = "Which server of a primary and its standbys takes the scheduled backups.",
        .choices = kBackupFrom,
        .server_only = true,
    },
};

struct UnitFactor {
  std::string_view name;
  double factor;
};
constexpr UnitFactor kTimeUnits[] = {{"us", 1e-6}, {"ms", 1e-3},  {"s", 1},
                                     {"min", 60},  {"h", 3600.0}, {"d", 86400.0}};
constexpr UnitFactor kMemoryUnits[] = {
    {"B", 1.0 / 1024}, {"kB", 1}, {"MB", 1024}, {"GB", 1 << 20}, {"TB", 1 << 30}};

std::span<const UnitFactor> UnitsOf(SettingUnit unit) {
  switch (unit) {
    case SettingUnit::kNone:
      return {};
    case SettingUnit::kSeconds:
      return kTimeUnits;
    case SettingUnit::kKilobytes:
      return kMemoryUnits;
  }
  return {};
}

const char* UnitHint(SettingUnit unit) {
  switch (unit) {
    case SettingUnit::kNone:
      break;
    case SettingUnit::kSeconds:
      return "Valid units are \"us\", \"ms\", \"s\", \"min\", \"h\" and \"d\".";
    case SettingUnit::kKilobytes:
      return "Valid units are \"B\", \"kB\", \"MB\", \"GB\" and \"TB\".";
  }
  return "Give a number without a unit.";
}

// Returns nothing for a unit that is unknown or not allowed.
std::optional<double> FactorOf(SettingUnit unit, std::string_view name) {
  for (const UnitFactor& factor : UnitsOf(unit)) {
    if (factor.name == name) {
      return factor.factor;
    }
  }
  return std::nullopt;
}

std::string_view SkipBlanks(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\n\v\f\r");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

Status ValidateString(const SettingSpec& spec, std::string_view value) {
  if (value.empty()) {
    if (*spec.default_value != '\0' && !spec.may_be_empty) {
      return InvalidSetting(spec, "it is empty");
    }
    return Ok();
  }
  // A line break in a key would get into a request header.
  if (std::ranges::any_of(value,
                          [](char c) { return static_cast<unsigned char>(c) < 32 || c == 127; })) {
    return InvalidSetting(spec, "it contains a control character");
  }
  if (IsPlaceholder(value)) {
    return PlaceholderError(spec);
  }
  return spec.check == nullptr ? Ok() : spec.check(spec, value);
}

}  // namespace

std::span<const SettingSpec> AllSettings() {
  return kSettings;
}

const SettingSpec* FindSetting(std::string_view name) {
  for (const SettingSpec& spec : kSettings) {
    if (EqualsIgnoringCase(spec.name, name)) {
      return &spec;
    }
  }
  return nullptr;
}

void WipeSecrets(SettingValues& values) {
  for (auto& [name, value] : values) {
    const SettingSpec* const spec = FindSetting(name);
    if (spec != nullptr && spec->secret) {
      Wipe(value.text);
    }
  }
}

Error InvalidSetting(const SettingSpec& spec, std::string_view reason) {
  return MakeError(ErrorCode::kInvalidArgument, "invalid value for \"{}{}\": {}", kSettingPrefix,
                   spec.name, reason);
}

Status ValidateSetting(const SettingSpec& spec, std::string_view value) {
  switch (spec.type) {
    case SettingType::kString:
      return ValidateString(spec, value);
    case SettingType::kBool:
      if (!ParseBoolean(value).has_value()) {
        return InvalidSetting(spec, fmt::format("\"{}\" is not a Boolean value", value))
            .WithHint("Give \"on\" or \"off\".");
      }
      return Ok();
    case SettingType::kInteger: {
      RETURN_IF_ERROR(ParseInteger(spec, value));
      return Ok();
    }
    case SettingType::kEnum:
      if (std::ranges::any_of(spec.choices, [&](const char* choice) {
            return EqualsIgnoringCase(choice, value);
          })) {
        return Ok();
      }
      std::string choices;
      for (const char* choice : spec.choices) {
        choices += fmt::format("{}\"{}\"", choices.empty() ? "" : ", ", choice);
      }
      return InvalidSetting(spec, fmt::format("\"{}\" is not one of its values", value))
          .WithHint(fmt::format("Available values: {}.", choices));
  }
  return MakeError(ErrorCode::kInternal, "setting \"{}\" has an unknown type", spec.name);
}

std::optional<bool> ParseBoolean(std::string_view text) {
  // Accepts unique prefixes, as parse_bool_with_len() does (utils/adt/bool.c). "o" is not unique.
  const auto is_prefix_of = [&](std::string_view word, std::size_t least) {
    return text.size() >= least && text.size() <= word.size() &&
           EqualsIgnoringCase(text, word.substr(0, text.size()));
  };
  if (is_prefix_of("true", 1) || is_prefix_of("yes", 1) || is_prefix_of("on", 2) || text == "1") {
    return true;
  }
  if (is_prefix_of("false", 1) || is_prefix_of("no", 1) || is_prefix_of("off", 2) || text == "0") {
    return false;
  }
  return std::nullopt;
}

Result<int> ParseInteger(const SettingSpec& spec, std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  errno = 0;
  auto number = static_cast<double>(std::strtol(copy.c_str(), &end, 0));
  if (*end == '.' || *end == 'e' || *end == 'E' || errno == ERANGE) {
    errno = 0;
    number = std::strtod(copy.c_str(), &end);
  }
  if (end == copy.c_str() || errno == ERANGE || std::isnan(number)) {
    return InvalidSetting(spec, fmt::format("\"{}\" is not an integer", text));
  }
  std::string_view unit = SkipBlanks(end);
  unit = unit.substr(0, unit.find_last_not_of(" \t\n\v\f\r") + 1);
  if (!unit.empty()) {
    const auto factor = FactorOf(spec.unit, unit);
    if (!factor.has_value()) {
      return InvalidSetting(spec, fmt::format("\"{}\" has an unknown unit", text))
          .WithHint(UnitHint(spec.unit));
    }
    number *= *factor;
  }
  number = std::rint(number);
  if (number < spec.min || number > spec.max) {
    return InvalidSetting(
        spec, fmt::format("{} is outside the valid range ({} .. {})", text, spec.min, spec.max));
  }
  return static_cast<int>(number);
}

}  // namespace veza
