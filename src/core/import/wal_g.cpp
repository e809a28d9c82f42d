#include "core/import/wal_g.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/ascii.h"

namespace veza {
namespace {

class Translation;

struct OldName {
  const char* name;
  enum class Fate {
    kTranslated,   // by `translate`
    kNothingToDo,  // `remark` says why nothing takes its place
    kToDo,         // `remark` says what to do in its place
  } fate = Fate::kNothingToDo;
  const char* remark = "";
  Status (Translation::*translate)(const OldSetting& old, ImportedLine& line) = nullptr;
  bool secret = false;  // or it may hold one, as a command or the user's own data does
};
using Fate = OldName::Fate;
using imported::kAlways;
using imported::kLog;
using imported::kNotS3;
using imported::kServerKnows;

class Translation {
 public:
  Translation(const OldSettings& old, const ImportOptions& options)
      : old_(old), options_(options) {}

  Result<ImportedConf> Run();

  // The handlers of the table.
  Status S3Prefix(const OldSetting& old, ImportedLine& line);
  Status FilePrefix(const OldSetting& old, ImportedLine& line);
  Status Endpoint(const OldSetting& old, ImportedLine& line);
  Status Region(const OldSetting& old, ImportedLine& line);
  Status PathStyle(const OldSetting& old, ImportedLine& line);
  Status CaFile(const OldSetting& old, ImportedLine& line);
  Status AccessKey(const OldSetting& old, ImportedLine& line);
  Status SecretKey(const OldSetting& old, ImportedLine& line);
  Status SessionToken(const OldSetting& old, ImportedLine& line);
  Status Profile(const OldSetting& old, ImportedLine& line);
  Status CredentialsFile(const OldSetting& old, ImportedLine& line);
  Status WebIdentity(const OldSetting& old, ImportedLine& line);
  Status Role(const OldSetting& old, ImportedLine& line);
  Status RoleSession(const OldSetting& old, ImportedLine& line);
  Status StorageClass(const OldSetting& old, ImportedLine& line);
  Status Sse(const OldSetting& old, ImportedLine& line);
  Status SseKey(const OldSetting& old, ImportedLine& line);
  Status SseKmsId(const OldSetting& old, ImportedLine& line);
  Status LibsodiumKey(const OldSetting& old, ImportedLine& line);
  Status LibsodiumKeyPath(const OldSetting& old, ImportedLine& line);
  Status PgpKey(const OldSetting& old, ImportedLine& line);
  Status ZstdLevel(const OldSetting& old, ImportedLine& line);
  Status UploadConcurrency(const OldSetting& old, ImportedLine& line);
  Status DiskConcurrency(const OldSetting& old, ImportedLine& line);
  Status DiskRate(const OldSetting& old, ImportedLine& line);

 private:
  const OldSetting* Find(std::string_view name) const;
  // Whether no other line has set it. Otherwise says what to do.
  bool Claim(const char* setting, ImportedLine& line);
  // Sets it if it can be claimed. False otherwise.
  bool SetOnce(const char* setting, std::string value, ImportedLine& line);
  Status SetNumber(const OldSetting& old, const char* setting, ImportedLine& line);
  bool RequireProfile(const char* setting, const OldSetting& old, ImportedLine& line);
  // Whether a role is taken with the token of a service account.
  bool HasWebIdentity() const {
    return Find("AWS_WEB_IDENTITY_TOKEN_FILE") != nullptr && Find("AWS_ACCESS_KEY_ID") == nullptr;
  }
  void AddDefault(const char* origin, const char* setting, const char* value, const char* remark);
  void AddDefaultsOfS3();
  Status Translate(const OldSetting& old);
  void AddDefaults();

  const OldSettings& old_;
  const ImportOptions& options_;
  std::map<std::string_view, const OldSetting*, std::less<>> in_force_;
  std::set<std::string, std::less<>> done_;
  bool is_encrypted_ = false;
  bool is_s3_ = false;
  ImportedConf conf_;
};

constexpr const char* kOfOtherStore = "Goes with a storage that has no counterpart.";
constexpr const char* kFixed = "Fixed here.";
constexpr const char* kNoDebugging = "For the makers of WAL-G.";
constexpr const char* kDeltas =
    "What is a diff or an incr here is said when it is taken: veza_backup.schedule_diff and "
    "schedule_incr.";
constexpr const char* kPacks =
    "Files are stored in packs of 16 MiB, and a diff finds what has changed by itself.";
constexpr const char* kRestore = "An option of a restore: see vezactl restore --help.";
constexpr const char* kFailover =
    "A second storage for the time in which the first is away has no counterpart. WAL waits in "
    "pg_wal meanwhile: make its disk large enough, or the storage redundant.";
constexpr const char* kOfFailover = "Goes with the storages for failover.";
constexpr const char* kEndpointSource =
    "An address that another service tells has no counterpart. Set veza_backup.s3_endpoint to a "
    "name that leads there.";
constexpr const char* kRole =
    "A role is taken with the token of a service account only: see s3_credentials = "
    "'web-identity'. For others let a program write temporary keys into a file, and set "
    "veza_backup.s3_credentials = 'profile'.";
constexpr const char* kOfPgp = "Goes with a PGP key, which has no counterpart.";
constexpr const char* kUserData = "Backups have no data of the user.";

// The settings of WAL-G for PostgreSQL, from internal/config/config.go, and the variable of AWS's
// library that it looks at besides (pkg/storages/s3/session.go).
constexpr OldName kNames[] = {
    {"WALG_S3_PREFIX", Fate::kTranslated, "", &Translation::S3Prefix},
    {"WALE_S3_PREFIX", Fate::kTranslated, "", &Translation::S3Prefix},
    {"WALG_FILE_PREFIX", Fate::kTranslated, "", &Translation::FilePrefix},
    {"WALG_AZ_PREFIX", Fate::kToDo, kNotS3},
    {"WALG_GS_PREFIX", Fate::kToDo, kNotS3},
    {"WALG_OSS_PREFIX", Fate::kToDo, kNotS3},
    {"WALG_SSH_PREFIX", Fate::kToDo, kNotS3},
    {"WALG_SWIFT_PREFIX", Fate::kToDo, kNotS3},
    {"WALG_STORAGE_PREFIX", Fate::kNothingToDo,
     "A place below WAL-G's own. The repository here is another one."},

    {"AWS_ACCESS_KEY_ID", Fate::kTranslated, "", &Translation::AccessKey},
    {"AWS_SECRET_ACCESS_KEY", Fate::kTranslated, "", &Translation::SecretKey, true},
    {"AWS_SESSION_TOKEN", Fate::kTranslated, "", &Translation::SessionToken, true},
    {"AWS_REGION", Fate::kTranslated, "", &Translation::Region},
    {"AWS_DEFAULT_REGION", Fate::kTranslated, "", &Translation::Region},
    {"AWS_DEFAULT_OUTPUT", Fate::kNothingToDo, "It concerns AWS's own program."},
    {"AWS_PROFILE", Fate::kTranslated, "", &Translation::Profile},
    {"AWS_SHARED_CREDENTIALS_FILE", Fate::kTranslated, "", &Translation::CredentialsFile},
    {"AWS_CONFIG_FILE", Fate::kToDo,
     "Only files with keys are read: see veza_backup.s3_credentials_file. Set what else it says, "
     "such as the region, in veza_backup.conf."},
    {"AWS_WEB_IDENTITY_TOKEN_FILE", Fate::kTranslated, "", &Translation::WebIdentity},
    {"AWS_ROLE_ARN", Fate::kTranslated, "", &Translation::Role},
    {"AWS_ROLE_SESSION_NAME", Fate::kTranslated, "", &Translation::RoleSession},
    {"AWS_ENDPOINT", Fate::kTranslated, "", &Translation::Endpoint},
    {"AWS_S3_FORCE_PATH_STYLE", Fate::kTranslated, "", &Translation::PathStyle},
    {"AWS_CA_BUNDLE", Fate::kTranslated, "", &Translation::CaFile},
    {"WALG_S3_CA_CERT_FILE", Fate::kTranslated, "", &Translation::CaFile},
    {"WALG_S3_STORAGE_CLASS", Fate::kTranslated, "", &Translation::StorageClass},
    {"WALG_S3_SSE", Fate::kTranslated, "", &Translation::Sse},
    {"WALG_S3_SSE_C", Fate::kTranslated, "", &Translation::SseKey, true},
    {"WALG_S3_SSE_KMS_ID", Fate::kTranslated, "", &Translation::SseKmsId},
    {"WALG_S3_MAX_PART_SIZE", Fate::kNothingToDo,
     "Objects have at most 32 MiB and go up in one piece."},
    {"WALG_S3_ENDPOINT_SOURCE", Fate::kToDo, kEndpointSource, nullptr, true},
    {"WALG_S3_ENDPOINT_PORT", Fate::kNothingToDo, "See WALG_S3_ENDPOINT_SOURCE."},
    {"WALG_S3_USE_LIST_OBJECTS_V1", Fate::kToDo,
     "Only ListObjectsV2 is used. Look whether your store has it: docs/stores.md."},
    {"WALG_S3_LOG_LEVEL", Fate::kNothingToDo, kLog},
    {"WALG_S3_RANGE_BATCH_ENABLED", Fate::kNothingToDo, kFixed},
    {"WALG_S3_RANGE_MAX_RETRIES", Fate::kNothingToDo,
     "veza_backup.restore_retry_timeout says how long is tried."},
    {"WALG_S3_MAX_RETRIES", Fate::kNothingToDo,
     "veza_backup.backup_retry_timeout and restore_retry_timeout say how long is tried."},

    {"AZURE_ENVIRONMENT_NAME", Fate::kNothingToDo, kOfOtherStore},
    {"AZURE_STORAGE_ACCESS_KEY", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"AZURE_STORAGE_ACCOUNT", Fate::kNothingToDo, kOfOtherStore},
    {"AZURE_STORAGE_SAS_TOKEN", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"WALG_AZURE_BUFFER_SIZE", Fate::kNothingToDo, kOfOtherStore},
    {"WALG_AZURE_MAX_BUFFERS", Fate::kNothingToDo, kOfOtherStore},
    {"GOOGLE_APPLICATION_CREDENTIALS", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"OSS_ACCESS_KEY_ID", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"OSS_ACCESS_KEY_SECRET", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"OSS_CONNECT_TIMEOUT", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_COPY_PART_SIZE", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_ENDPOINT", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_MAX_RETRIES", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_REGION", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_ROLE_ARN", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_ROLE_SESSION_NAME", Fate::kNothingToDo, kOfOtherStore},
    {"OSS_SESSION_TOKEN", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"OSS_UPLOAD_PART_SIZE", Fate::kNothingToDo, kOfOtherStore},
    {"OS_AUTH_URL", Fate::kNothingToDo, kOfOtherStore},
    {"OS_PASSWORD", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"OS_REGION_NAME", Fate::kNothingToDo, kOfOtherStore},
    {"OS_TENANT_NAME", Fate::kNothingToDo, kOfOtherStore},
    {"OS_USERNAME", Fate::kNothingToDo, kOfOtherStore},
    {"SSH_PASSWORD", Fate::kNothingToDo, kOfOtherStore, nullptr, true},
    {"SSH_PORT", Fate::kNothingToDo, kOfOtherStore},
    {"SSH_PRIVATE_KEY_PATH", Fate::kNothingToDo, kOfOtherStore},
    {"SSH_USERNAME", Fate::kNothingToDo, kOfOtherStore},

    {"WALG_LIBSODIUM_KEY", Fate::kTranslated, "", &Translation::LibsodiumKey, true},
    {"WALG_LIBSODIUM_KEY_PATH", Fate::kTranslated, "", &Translation::LibsodiumKeyPath},
    {"WALG_LIBSODIUM_KEY_TRANSFORM", Fate::kNothingToDo,
     "A passphrase is taken as it is, and turned into a key."},
    {"WALG_PGP_KEY", Fate::kTranslated, "", &Translation::PgpKey, true},
    {"WALG_PGP_KEY_PATH", Fate::kTranslated, "", &Translation::PgpKey},
    {"WALG_PGP_KEY_PASSPHRASE", Fate::kNothingToDo, kOfPgp, nullptr, true},
    {"WALG_GPG_KEY_ID", Fate::kTranslated, "", &Translation::PgpKey},
    {"WALE_GPG_KEY_ID", Fate::kTranslated, "", &Translation::PgpKey},
    {"WALG_ENVELOPE_PGP_KEY", Fate::kTranslated, "", &Translation::PgpKey, true},
    {"WALG_ENVELOPE_PGP_KEY_PATH", Fate::kTranslated, "", &Translation::PgpKey},
    {"WALG_ENVELOPE_CACHE_EXPIRATION", Fate::kNothingToDo, kOfPgp},
    {"WALG_ENVELOPE_PGP_YC_CSE_KMS_KEY_ID", Fate::kNothingToDo, kOfPgp},
    {"WALG_ENVELOPE_PGP_YC_ENDPOINT", Fate::kNothingToDo, kOfPgp},
    {"WALG_ENVELOPE_PGP_YC_SERVICE_ACCOUNT_KEY_FILE", Fate::kNothingToDo, kOfPgp},
    {"WALG_CSE_KMS_ID", Fate::kTranslated, "", &Translation::PgpKey},
    {"WALG_CSE_KMS_REGION", Fate::kNothingToDo, "See WALG_CSE_KMS_ID."},
    {"YC_CSE_KMS_KEY_ID", Fate::kTranslated, "", &Translation::PgpKey},
    {"YC_SERVICE_ACCOUNT_KEY_FILE", Fate::kNothingToDo, "See YC_CSE_KMS_KEY_ID."},

    {"WALG_COMPRESSION_METHOD", Fate::kNothingToDo, "The compression is always zstd."},
    {"WALG_ZSTD_LEVEL", Fate::kTranslated, "", &Translation::ZstdLevel},
    {"WALG_UPLOAD_CONCURRENCY", Fate::kTranslated, "", &Translation::UploadConcurrency},
    {"WALG_UPLOAD_DISK_CONCURRENCY", Fate::kTranslated, "", &Translation::DiskConcurrency},
    {"WALG_UPLOAD_QUEUE", Fate::kNothingToDo, kFixed},
    {"WALG_DOWNLOAD_CONCURRENCY", Fate::kNothingToDo, "For a restore: vezactl restore --jobs N."},
    {"WALG_DOWNLOAD_FILE_RETRIES", Fate::kNothingToDo,
     "veza_backup.restore_retry_timeout says how long is tried."},
    {"WALG_DISK_RATE_LIMIT", Fate::kTranslated, "", &Translation::DiskRate},
    {"WALG_NETWORK_RATE_LIMIT", Fate::kToDo,
     "A backup is held back where it reads: set veza_backup.max_rate. What is uploaded is "
     "compressed, and so less."},
    {"TOTAL_BG_UPLOADED_LIMIT", Fate::kNothingToDo,
     "veza_backup.archive_look_ahead says how many WAL files are stored ahead."},
    {"WALG_DELTA_MAX_STEPS", Fate::kNothingToDo, kDeltas},
    {"WALG_DELTA_ORIGIN", Fate::kNothingToDo, kDeltas},
    {"WALG_DELTA_FROM_NAME", Fate::kNothingToDo, kDeltas},
    {"WALG_DELTA_FROM_USER_DATA", Fate::kNothingToDo, kDeltas, nullptr, true},
    {"WALG_USE_WAL_DELTA", Fate::kNothingToDo,
     "Always: the archiver keeps an index of what WAL changes (veza_backup.wal_index)."},
    {"WALG_FORCE_WAL_DELTA", Fate::kNothingToDo,
     "Where WAL leaves a doubt, everything is read and compared."},
    {"WALG_FETCH_TARGET_USER_DATA", Fate::kNothingToDo, kUserData, nullptr, true},
    {"WALG_SENTINEL_USER_DATA", Fate::kNothingToDo, kUserData, nullptr, true},
    {"WALG_PREVENT_WAL_OVERWRITE", Fate::kNothingToDo, kAlways},
    {"WALG_UPLOAD_WAL_METADATA", Fate::kNothingToDo, "vezactl timeline shows what WAL holds."},
    {"WALG_TAR_SIZE_THRESHOLD", Fate::kNothingToDo, kPacks},
    {"WALG_TAR_DISABLE_FSYNC", Fate::kNothingToDo, "A restore always writes durably."},
    {"WALG_USE_RATING_COMPOSER", Fate::kNothingToDo, kPacks},
    {"WALG_USE_COPY_COMPOSER", Fate::kNothingToDo, kPacks},
    {"WALG_USE_DATABASE_COMPOSER", Fate::kNothingToDo, kPacks},
    {"WALG_WITHOUT_FILES_METADATA", Fate::kNothingToDo, kPacks},
    {"WALG_USE_REVERSE_UNPACK", Fate::kNothingToDo, "A restore reads each file once."},
    {"WALG_SKIP_REDUNDANT_TARS", Fate::kNothingToDo, "A restore reads each file once."},
    {"WALG_DISABLE_PARTIAL_RESTORE", Fate::kNothingToDo, kRestore},
    {"WALG_VERIFY_PAGE_CHECKSUMS", Fate::kNothingToDo,
     "Always, if the cluster has data checksums."},
    {"WALG_STORE_ALL_CORRUPT_BLOCKS", Fate::kNothingToDo, "A backup notes what is damaged."},
    {"WALG_INTEGRITY_MAX_DELAYED_WALS", Fate::kNothingToDo, "vezactl verify says what is missing."},
    {"WALG_STREAM_CREATE_COMMAND", Fate::kNothingToDo, "Backups are not made from a stream.",
     nullptr, true},
    {"WALG_STREAM_RESTORE_COMMAND", Fate::kNothingToDo, "Backups are not made from a stream.",
     nullptr, true},
    {"WALG_SERIALIZER_TYPE", Fate::kNothingToDo, kFixed},
    {"WALG_DIRECT_IO", Fate::kNothingToDo, kFixed},
    {"WALG_DIRECT_IO_BLOCK_COUNT", Fate::kNothingToDo, kFixed},
    {"WALG_PREFETCH_DIR", Fate::kNothingToDo,
     "Options of the restore_command: vezactl wal-get --help."},
    {"WALG_SLOTNAME", Fate::kNothingToDo, "WAL comes from the archiver, and needs no slot."},
    {"WALG_ALIVE_CHECK_INTERVAL", Fate::kNothingToDo, "The backup runs in the server."},
    {"WALG_STOP_BACKUP_TIMEOUT", Fate::kNothingToDo,
     "veza_backup.backup_wal_timeout says how long a backup waits for its WAL."},
    {"WALG_DAEMON_WAL_UPLOAD_TIMEOUT", Fate::kNothingToDo, "There is no daemon."},
    {"PG_READY_RENAME", Fate::kNothingToDo, "PostgreSQL alone renames its files."},
    {"WALG_STATSD_ADDRESS", Fate::kNothingToDo,
     "Metrics are in a file for Prometheus: veza_backup.metrics_file."},
    {"WALG_STATSD_EXTRA_TAGS", Fate::kNothingToDo,
     "Metrics are in a file for Prometheus: veza_backup.metrics_file."},
    {"WALG_LOG_LEVEL", Fate::kNothingToDo, kLog},
    {"WALG_LOG_DESTINATION", Fate::kNothingToDo, kLog},
    {"WALG_FAILOVER_STORAGES", Fate::kToDo, kFailover, nullptr, true},
    {"WALG_FAILOVER_STORAGES_CHECK", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CHECK_TIMEOUT", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CHECK_SIZE", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_LIFETIME", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_ALIVE_LIMIT", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_DEAD_LIMIT", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_ALIVE_MAX", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_ALIVE_MIN", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_DEAD_MAX", Fate::kNothingToDo, kOfFailover},
    {"WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_DEAD_MIN", Fate::kNothingToDo, kOfFailover},

    {"PGAPPNAME", Fate::kNothingToDo, kServerKnows},
    {"PGDATA", Fate::kNothingToDo, kServerKnows},
    {"PGDATABASE", Fate::kNothingToDo, kServerKnows},
    {"PGHOST", Fate::kNothingToDo, kServerKnows},
    {"PGPASSFILE", Fate::kNothingToDo, kServerKnows},
    {"PGPASSWORD", Fate::kNothingToDo, kServerKnows, nullptr, true},
    {"PGPORT", Fate::kNothingToDo, kServerKnows},
    {"PGSSLCERT", Fate::kNothingToDo, kServerKnows},
    {"PGSSLKEY", Fate::kNothingToDo, kServerKnows},
    {"PGSSLMODE", Fate::kNothingToDo, kServerKnows},
    {"PGSSLROOTCERT", Fate::kNothingToDo, kServerKnows},
    {"PGUSER", Fate::kNothingToDo, kServerKnows},
    {"WALG_PG_BLOCK_SIZE", Fate::kNothingToDo, kServerKnows},
    {"WALG_PG_WAL_PAGE_SIZE", Fate::kNothingToDo, kServerKnows},
    {"WALG_PG_WAL_SIZE", Fate::kNothingToDo, kServerKnows},
    {"PGBACKREST_STANZA", Fate::kNothingToDo,
     "WAL-G reads pgBackRest's backups by it. veza_backup does not."},
    {"GODEBUG", Fate::kNothingToDo, kNoDebugging},
    {"GOMAXPROCS", Fate::kNothingToDo, "veza_backup.jobs says how many threads a backup has."},
    {"HTTP_EXPOSE_EXPVAR", Fate::kNothingToDo, kNoDebugging},
    {"HTTP_EXPOSE_PPROF", Fate::kNothingToDo, kNoDebugging},
    {"HTTP_LISTEN", Fate::kNothingToDo, kNoDebugging},
    {"PROFILE_MODE", Fate::kNothingToDo, kNoDebugging},
    {"PROFILE_PATH", Fate::kNothingToDo, kNoDebugging},
    {"PROFILE_SAMPLING_RATIO", Fate::kNothingToDo, kNoDebugging},
};

const OldName* FindName(std::string_view name) {
  const auto* const found =
      std::ranges::find_if(kNames, [&](const OldName& row) { return row.name == name; });
  return found == std::end(kNames) ? nullptr : found;
}

Error BadValue(const OldSetting& old, std::string_view expected) {
  return MakeError(ErrorCode::kInvalidArgument, "{}: the value of {} is not {}", old.source,
                   old.key, expected)
      .WithHint("Correct it.");
}

const OldSetting* Translation::Find(std::string_view name) const {
  const auto found = in_force_.find(name);
  return found == in_force_.end() ? nullptr : found->second;
}

bool Translation::Claim(const char* setting, ImportedLine& line) {
  if (!done_.insert(setting).second) {
    AddToDo("Another line above has set the same. Remove one of them.", line);
    return false;
  }
  return true;
}

bool Translation::SetOnce(const char* setting, std::string value, ImportedLine& line) {
  if (!Claim(setting, line)) {
    return false;
  }
  line.settings.push_back({setting, std::move(value)});
  return true;
}

Status Translation::SetNumber(const OldSetting& old, const char* setting, ImportedLine& line) {
  const std::optional<std::int64_t> number = ParseCount(old.value);
  if (!number) {
    return BadValue(old, "a number");
  }
  SetOnce(setting, fmt::format("{}", ClampToSetting(setting, *number)), line);
  return Ok();
}

Status Translation::S3Prefix(const OldSetting& old, ImportedLine& line) {
  constexpr std::string_view kScheme = "s3://";
  if (!old.value.starts_with(kScheme)) {
    return BadValue(old, "an address s3://bucket/path");
  }
  is_s3_ = true;
  const std::string_view place = std::string_view(old.value).substr(kScheme.size());
  const std::string_view bucket = place.substr(0, place.find('/'));
  const std::string_view path = place.substr(bucket.size());
  if (!Claim("repository", line) ||
      !AddRepositoryBeside("WAL-G", fmt::format("s3://{}", bucket), path, line)) {
    return Ok();
  }
  AddRemark(
      "Another prefix in the same bucket, never WAL-G's own, which stays as it is. The keys "
      "must be allowed to use it.",
      line);
  const std::string cluster = LastPartOf(path);
  if (cluster.empty()) {
    AddRemark("The cluster is called \"main\"; veza_backup.cluster gives it another name.", line);
  } else {
    SetOnce("cluster", cluster, line);
  }
  return Ok();
}

Status Translation::FilePrefix(const OldSetting& old, ImportedLine& line) {
  if (!old.value.starts_with('/')) {
    return BadValue(old, "an absolute path");
  }
  if (Claim("repository", line) && AddRepositoryBeside("WAL-G", "", old.value, line)) {
    AddToDo(
        "A directory beside WAL-G's, never the same. Make sure that it is on the right disk: "
        "WAL-G's may be a file system of its own.",
        line);
    SetOnce("cluster", LastPartOf(old.value), line);
  }
  return Ok();
}

Status Translation::Endpoint(const OldSetting& old, ImportedLine& line) {
  if (MayHoldASecret(old.value)) {
    AddToDo(imported::kLoginInEndpoint, line);
    return Ok();
  }
  std::string value = old.value;
  while (value.ends_with('/')) {
    value.pop_back();
  }
  SetOnce("s3_endpoint", value.find("://") == std::string::npos ? "https://" + value : value, line);
  return Ok();
}

Status Translation::Region(const OldSetting& old, ImportedLine& line) {
  if (old.key == "AWS_DEFAULT_REGION" && Find("AWS_REGION") != nullptr) {
    AddRemark("AWS_REGION comes before it.", line);
    return Ok();
  }
  SetOnce("s3_region", old.value, line);
  return Ok();
}

Status Translation::PathStyle(const OldSetting& old, ImportedLine& line) {
  const std::string value = LowerCase(old.value);
  const bool is_on = value == "true" || value == "t" || value == "1";
  if (!is_on && value != "false" && value != "f" && value != "0") {
    return BadValue(old, "true or false");
  }
  SetOnce("s3_uri_style", is_on ? "path" : "virtual-host", line);
  return Ok();
}

Status Translation::CaFile(const OldSetting& old, ImportedLine& line) {
  SetOnce("s3_ca_file", old.value, line);
  return Ok();
}

Status Translation::AccessKey(const OldSetting& old, ImportedLine& line) {
  // What changes together has to be in files together.
  if (Find("AWS_SESSION_TOKEN") != nullptr) {
    conf_.AddSecret("s3_access_key", old.value, options_, line);
  } else {
    SetOnce("s3_access_key", old.value, line);
  }
  return Ok();
}

Status Translation::SecretKey(const OldSetting& old, ImportedLine& line) {
  conf_.AddSecret("s3_secret_key", old.value, options_, line);
  return Ok();
}

Status Translation::SessionToken(const OldSetting& old, ImportedLine& line) {
  conf_.AddSecret("s3_session_token", old.value, options_, line);
  AddToDo(imported::kTokenEnds, line);
  return Ok();
}

// Keys come before the token of a service account, and that before a profile, as in AWS's library.
bool Translation::RequireProfile(const char* setting, const OldSetting& old, ImportedLine& line) {
  if (Find("AWS_ACCESS_KEY_ID") != nullptr) {
    AddRemark("AWS_ACCESS_KEY_ID comes before it.", line);
    return false;
  }
  if (HasWebIdentity()) {
    AddRemark("AWS_WEB_IDENTITY_TOKEN_FILE comes before it.", line);
    return false;
  }
  if (done_.insert("s3_credentials").second) {
    line.settings.push_back({"s3_credentials", "profile"});
  }
  return SetOnce(setting, old.value, line);
}

Status Translation::Profile(const OldSetting& old, ImportedLine& line) {
  RequireProfile("s3_profile", old, line);
  return Ok();
}

Status Translation::CredentialsFile(const OldSetting& old, ImportedLine& line) {
  RequireProfile("s3_credentials_file", old, line);
  return Ok();
}

Status Translation::WebIdentity(const OldSetting& old, ImportedLine& line) {
  if (!HasWebIdentity()) {
    AddRemark("AWS_ACCESS_KEY_ID comes before it.", line);
    return Ok();
  }
  SetOnce("s3_credentials", "web-identity", line);
  SetOnce("s3_web_identity_token_file", old.value, line);
  return Ok();
}

Status Translation::Role(const OldSetting& old, ImportedLine& line) {
  if (HasWebIdentity()) {
    SetOnce("s3_role_arn", old.value, line);
  } else {
    AddToDo(kRole, line);
  }
  return Ok();
}

Status Translation::RoleSession(const OldSetting& old, ImportedLine& line) {
  if (HasWebIdentity()) {
    SetOnce("s3_role_session_name", old.value, line);
  } else {
    AddRemark("Goes with the role.", line);
  }
  return Ok();
}

Status Translation::StorageClass(const OldSetting& old, ImportedLine& line) {
  SetOnce("s3_storage_class", old.value, line);
  return Ok();
}

Status Translation::Sse(const OldSetting& old, ImportedLine& line) {
  if (Find("WALG_S3_SSE_C") != nullptr) {
    AddRemark("See WALG_S3_SSE_C.", line);
    return Ok();
  }
  if (old.value != "AES256" && old.value != "aws:kms") {
    return BadValue(old, "AES256 or aws:kms");
  }
  SetOnce("s3_sse", old.value == "AES256" ? "aes256" : "aws:kms", line);
  return Ok();
}

Status Translation::SseKey(const OldSetting& old, ImportedLine& line) {
  SetOnce("s3_sse", "customer-key", line);
  conf_.AddSecret("s3_sse_customer_key", old.value, options_, line);
  return Ok();
}

Status Translation::SseKmsId(const OldSetting& old, ImportedLine& line) {
  if (Find("WALG_S3_SSE_C") != nullptr) {
    AddRemark("See WALG_S3_SSE_C.", line);
    return Ok();
  }
  const OldSetting* const sse = Find("WALG_S3_SSE");
  if (sse == nullptr || sse->value != "aws:kms") {
    AddRemark("Without effect, because WALG_S3_SSE is not aws:kms.", line);
    return Ok();
  }
  SetOnce("s3_sse_kms_key_id", old.value, line);
  return Ok();
}

constexpr const char* kNewKey =
    "It protects the key of a new repository, as its passphrase. It does not open WAL-G's backups "
    "here: keep WAL-G for that.";

Status Translation::LibsodiumKey(const OldSetting& old, ImportedLine& line) {
  is_encrypted_ = true;
  if (!Claim("cipher_passphrase_file", line)) {
    return Ok();
  }
  AddRemark(kNewKey, line);
  conf_.AddSecret("cipher_passphrase", old.value, options_, line);
  return Ok();
}

Status Translation::LibsodiumKeyPath(const OldSetting& old, ImportedLine& line) {
  is_encrypted_ = true;
  AddRemark(kNewKey, line);
  SetOnce("cipher_passphrase_file", old.value, line);
  return Ok();
}

Status Translation::PgpKey(const OldSetting&, ImportedLine& line) {
  is_encrypted_ = true;
  if (done_.insert("another kind of key").second) {
    AddToDo(
        "A repository is encrypted with a passphrase. Set veza_backup.cipher_passphrase_file, "
        "or a cipher_passphrase_command that asks your key management or gpg. Until then the "
        "server refuses to store anything.",
        line);
  } else {
    AddRemark("See the key above.", line);
  }
  return Ok();
}

Status Translation::ZstdLevel(const OldSetting& old, ImportedLine& line) {
  return SetNumber(old, "compression_level", line);
}

Status Translation::UploadConcurrency(const OldSetting& old, ImportedLine& line) {
  return SetNumber(old, "s3_connections", line);
}

Status Translation::DiskConcurrency(const OldSetting& old, ImportedLine& line) {
  AddRemark("Threads that read, compress and encrypt for a backup; 0 is one for each processor.",
            line);
  return SetNumber(old, "jobs", line);
}

Status Translation::DiskRate(const OldSetting& old, ImportedLine& line) {
  const std::optional<std::int64_t> bytes = ParseCount(old.value);
  if (!bytes) {
    return BadValue(old, "a number");
  }
  const std::int64_t kilobytes = *bytes / 1024 + (*bytes % 1024 == 0 ? 0 : 1);  // 0 is no limit
  SetOnce("max_rate", fmt::format("{}kB", ClampToSetting("max_rate", kilobytes)), line);
  return Ok();
}

Status Translation::Translate(const OldSetting& old) {
  const OldName* const row = FindName(old.key);
  ImportedLine line{.origin = ForPeople(old, row != nullptr, row != nullptr && row->secret)};
  if (row == nullptr) {
    AddToDo("Not a setting of WAL-G for PostgreSQL. Is it a slip?", line);
  } else if (Find(old.key) != &old) {
    AddRemark(fmt::format("Not in force: see {}.", Find(old.key)->source), line);
  } else if (row->fate == Fate::kTranslated) {
    RETURN_IF_ERROR((this->*row->translate)(old, line));
  } else if (row->fate == Fate::kToDo) {
    AddToDo(row->remark, line);
  } else {
    AddRemark(row->remark, line);
  }
  conf_.Add(std::move(line));
  return Ok();
}

void Translation::AddDefault(const char* origin, const char* setting, const char* value,
                             const char* remark) {
  conf_.Add({.origin = origin, .settings = {{setting, value}}, .remark = remark});
}

void Translation::AddDefaultsOfS3() {
  if (!done_.contains("s3_uri_style")) {
    AddDefault("not set: AWS_S3_FORCE_PATH_STYLE, false by default", "s3_uri_style", "virtual-host",
               "");
  }
  if (Find("AWS_ACCESS_KEY_ID") == nullptr && !done_.contains("s3_credentials")) {
    AddDefault("not set: AWS_ACCESS_KEY_ID", "s3_credentials", "auto",
               "Then WAL-G looks for a profile, a container's or an instance's role. So does this, "
               "in the environment of the server's service.");
  }
  const OldSetting* const endpoint = Find("AWS_ENDPOINT");
  const bool is_of_aws =
      endpoint == nullptr || endpoint->value.empty() || endpoint->value.ends_with(".amazonaws.com");
  if (done_.contains("s3_region")) {
    return;
  }
  if (is_of_aws) {
    conf_.Add({.origin = "not set: AWS_REGION",
               .to_do = "WAL-G asks the bucket for its region. Here it has to be said: set "
                        "veza_backup.s3_region."});
  } else {
    AddDefault("not set: AWS_REGION, us-east-1 by default for another store than AWS's",
               "s3_region", "us-east-1", "");
  }
}

void Translation::AddDefaults() {
  if (!done_.contains("repository")) {
    conf_.Add({.origin = "not set: a prefix that has a counterpart",
               .to_do = "Set veza_backup.repository to \"s3://bucket/prefix\" or a directory."});
  }
  if (is_s3_) {
    AddDefaultsOfS3();
  }
  if (!is_encrypted_) {
    AddDefault("not set: a key", "cipher", "none", imported::kNotEncrypted);
  }
  if (!done_.contains("jobs")) {
    AddDefault("not set: WALG_UPLOAD_DISK_CONCURRENCY, 1 by default", "jobs", "1",
               imported::kOneJob);
  }
  conf_.Add({.origin = "not in WAL-G's settings: what is deleted",
             .settings = {{"retention_full", "0"},
                          {"retention_diff", "0"},
                          {"retention_incr", "0"},
                          {"retention_archive", "0"}},
             .remark = "0 keeps all. The defaults are 4, 7, 14 and 4.",
             .to_do = "\"wal-g delete\" says what goes, in your cron lines. Put its numbers here: "
                      "the server removes by itself what they do not keep."});
  AddSchedules("WAL-G", conf_);
}

Result<ImportedConf> Translation::Run() {
  for (const OldSetting& old : old_.all()) {
    in_force_.insert_or_assign(old.key, &old);
  }
  for (const OldSetting& old : old_.all()) {
    RETURN_IF_ERROR(Translate(old));
  }
  AddDefaults();
  return std::move(conf_);
}

}  // namespace

Result<ImportedConf> ImportWalG(const OldSettings& old, const ImportOptions& options) {
  return Translation(old, options).Run();
}

std::vector<std::string_view> WalGSettingNames() {
  std::vector<std::string_view> names;
  for (const OldName& row : kNames) {
    names.emplace_back(row.name);
  }
  return names;
}

}  // namespace veza
