#include "core/import/wal_g.h"

#include <gtest/gtest.h>

#include "core/import/import_fixture.h"
#include "core/import/wal_g_file.h"

namespace veza {
namespace {

// What WAL-G (August 2026) takes for PostgreSQL, from internal/config/config.go, and the variable
// of AWS's library that pkg/storages/s3/session.go looks at.
constexpr const char* kSettingsOfWalG[] = {
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_OUTPUT",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_S3_FORCE_PATH_STYLE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_ENVIRONMENT_NAME",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_SAS_TOKEN",
    "GODEBUG",
    "GOMAXPROCS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HTTP_EXPOSE_EXPVAR",
    "HTTP_EXPOSE_PPROF",
    "HTTP_LISTEN",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_CONNECT_TIMEOUT",
    "OSS_COPY_PART_SIZE",
    "OSS_ENDPOINT",
    "OSS_MAX_RETRIES",
    "OSS_REGION",
    "OSS_ROLE_ARN",
    "OSS_ROLE_SESSION_NAME",
    "OSS_SESSION_TOKEN",
    "OSS_UPLOAD_PART_SIZE",
    "OS_AUTH_URL",
    "OS_PASSWORD",
    "OS_REGION_NAME",
    "OS_TENANT_NAME",
    "OS_USERNAME",
    "PGAPPNAME",
    "PGBACKREST_STANZA",
    "PGDATA",
    "PGDATABASE",
    "PGHOST",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGUSER",
    "PG_READY_RENAME",
    "PROFILE_MODE",
    "PROFILE_PATH",
    "PROFILE_SAMPLING_RATIO",
    "SSH_PASSWORD",
    "SSH_PORT",
    "SSH_PRIVATE_KEY_PATH",
    "SSH_USERNAME",
    "TOTAL_BG_UPLOADED_LIMIT",
    "WALE_GPG_KEY_ID",
    "WALE_S3_PREFIX",
    "WALG_ALIVE_CHECK_INTERVAL",
    "WALG_AZURE_BUFFER_SIZE",
    "WALG_AZURE_MAX_BUFFERS",
    "WALG_AZ_PREFIX",
    "WALG_COMPRESSION_METHOD",
    "WALG_CSE_KMS_ID",
    "WALG_CSE_KMS_REGION",
    "WALG_DAEMON_WAL_UPLOAD_TIMEOUT",
    "WALG_DELTA_FROM_NAME",
    "WALG_DELTA_FROM_USER_DATA",
    "WALG_DELTA_MAX_STEPS",
    "WALG_DELTA_ORIGIN",
    "WALG_DIRECT_IO",
    "WALG_DIRECT_IO_BLOCK_COUNT",
    "WALG_DISABLE_PARTIAL_RESTORE",
    "WALG_DISK_RATE_LIMIT",
    "WALG_DOWNLOAD_CONCURRENCY",
    "WALG_DOWNLOAD_FILE_RETRIES",
    "WALG_ENVELOPE_CACHE_EXPIRATION",
    "WALG_ENVELOPE_PGP_KEY",
    "WALG_ENVELOPE_PGP_KEY_PATH",
    "WALG_ENVELOPE_PGP_YC_CSE_KMS_KEY_ID",
    "WALG_ENVELOPE_PGP_YC_ENDPOINT",
    "WALG_ENVELOPE_PGP_YC_SERVICE_ACCOUNT_KEY_FILE",
    "WALG_FAILOVER_STORAGES",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_ALIVE_LIMIT",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_ALIVE_MAX",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_ALIVE_MIN",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_DEAD_MAX",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_ALPHA_DEAD_MIN",
    "WALG_FAILOVER_STORAGES_CACHE_EMA_DEAD_LIMIT",
    "WALG_FAILOVER_STORAGES_CACHE_LIFETIME",
    "WALG_FAILOVER_STORAGES_CHECK",
    "WALG_FAILOVER_STORAGES_CHECK_SIZE",
    "WALG_FAILOVER_STORAGES_CHECK_TIMEOUT",
    "WALG_FETCH_TARGET_USER_DATA",
    "WALG_FILE_PREFIX",
    "WALG_FORCE_WAL_DELTA",
    "WALG_GPG_KEY_ID",
    "WALG_GS_PREFIX",
    "WALG_INTEGRITY_MAX_DELAYED_WALS",
    "WALG_LIBSODIUM_KEY",
    "WALG_LIBSODIUM_KEY_PATH",
    "WALG_LIBSODIUM_KEY_TRANSFORM",
    "WALG_LOG_DESTINATION",
    "WALG_LOG_LEVEL",
    "WALG_NETWORK_RATE_LIMIT",
    "WALG_OSS_PREFIX",
    "WALG_PGP_KEY",
    "WALG_PGP_KEY_PASSPHRASE",
    "WALG_PGP_KEY_PATH",
    "WALG_PG_BLOCK_SIZE",
    "WALG_PG_WAL_PAGE_SIZE",
    "WALG_PG_WAL_SIZE",
    "WALG_PREFETCH_DIR",
    "WALG_PREVENT_WAL_OVERWRITE",
    "WALG_S3_CA_CERT_FILE",
    "WALG_S3_ENDPOINT_PORT",
    "WALG_S3_ENDPOINT_SOURCE",
    "WALG_S3_LOG_LEVEL",
    "WALG_S3_MAX_PART_SIZE",
    "WALG_S3_MAX_RETRIES",
    "WALG_S3_PREFIX",
    "WALG_S3_RANGE_BATCH_ENABLED",
    "WALG_S3_RANGE_MAX_RETRIES",
    "WALG_S3_SSE",
    "WALG_S3_SSE_C",
    "WALG_S3_SSE_KMS_ID",
    "WALG_S3_STORAGE_CLASS",
    "WALG_S3_USE_LIST_OBJECTS_V1",
    "WALG_SENTINEL_USER_DATA",
    "WALG_SERIALIZER_TYPE",
    "WALG_SKIP_REDUNDANT_TARS",
    "WALG_SLOTNAME",
    "WALG_SSH_PREFIX",
    "WALG_STATSD_ADDRESS",
    "WALG_STATSD_EXTRA_TAGS",
    "WALG_STOP_BACKUP_TIMEOUT",
    "WALG_STORAGE_PREFIX",
    "WALG_STORE_ALL_CORRUPT_BLOCKS",
    "WALG_STREAM_CREATE_COMMAND",
    "WALG_STREAM_RESTORE_COMMAND",
    "WALG_SWIFT_PREFIX",
    "WALG_TAR_DISABLE_FSYNC",
    "WALG_TAR_SIZE_THRESHOLD",
    "WALG_UPLOAD_CONCURRENCY",
    "WALG_UPLOAD_DISK_CONCURRENCY",
    "WALG_UPLOAD_QUEUE",
    "WALG_UPLOAD_WAL_METADATA",
    "WALG_USE_COPY_COMPOSER",
    "WALG_USE_DATABASE_COMPOSER",
    "WALG_USE_RATING_COMPOSER",
    "WALG_USE_REVERSE_UNPACK",
    "WALG_USE_WAL_DELTA",
    "WALG_VERIFY_PAGE_CHECKSUMS",
    "WALG_WITHOUT_FILES_METADATA",
    "WALG_ZSTD_LEVEL",
    "YC_CSE_KMS_KEY_ID",
    "YC_SERVICE_ACCOUNT_KEY_FILE",
};

class ImportWalGTest : public ImportFixture {
 protected:
  Result<ImportedConf> Translate(std::string_view text, const ImportOptions& options) override {
    OldSettings settings;
    RETURN_IF_ERROR(ParseWalGText(text, "walg.env", settings));
    return ImportWalG(settings, options);
  }
};

TEST_F(ImportWalGTest, EverySettingHasOneRow) {
  ExpectOneRowEach(WalGSettingNames(), kSettingsOfWalG);
}

TEST_F(ImportWalGTest, NoLineIsDropped) {
  for (const char* const name : kSettingsOfWalG) {
    const auto conf = Import(fmt::format("{}=7\n", name));
    if (!conf.has_value()) {  // 7 is no value for it
      EXPECT_NE(conf.error().message.find("walg.env line 1"), std::string::npos) << name;
      continue;
    }
    const ImportedLine& line = conf->lines().front();
    EXPECT_NE(line.origin.find(name), std::string::npos);
    EXPECT_TRUE(!line.settings.empty() || !(line.remark + line.to_do).empty()) << name;
  }
}

TEST_F(ImportWalGTest, AnOrdinaryFileBecomesAConfigurationThatWorks) {
  const auto conf = Import(
      "# WAL-G\nexport WALG_S3_PREFIX='s3://bucket/walg/prod'\nAWS_ACCESS_KEY_ID=AKIAEXAMPLE\n"
      "AWS_SECRET_ACCESS_KEY=\"wJalrXUtnFEMI/K7MDENG\"\nAWS_REGION=eu-west-3\n"
      "AWS_ENDPOINT=http://minio:9000/\nAWS_S3_FORCE_PATH_STYLE=true\n"
      "WALG_COMPRESSION_METHOD=zstd\nWALG_ZSTD_LEVEL=5\n"
      "WALG_LIBSODIUM_KEY=0123456789abcdef0123456789abcdef\nWALG_DELTA_MAX_STEPS=6\n"
      "WALG_UPLOAD_CONCURRENCY=12\nWALG_UPLOAD_DISK_CONCURRENCY=3\nPGHOST=/var/run/postgresql\n",
      {.writes_secrets = true});
  ASSERT_TRUE(conf.has_value()) << conf.error().message;
  ASSERT_EQ(conf->secrets().size(), 2U);
  const auto config = Build(*conf);
  ASSERT_TRUE(config.has_value()) << config.error().message << "\n" << conf->Format("");
  EXPECT_EQ(config->s3.bucket, "bucket");
  EXPECT_EQ(config->s3.prefix, "walg/veza_backup/prod");
  EXPECT_EQ(config->s3.endpoint, "http://minio:9000");
  EXPECT_EQ(config->s3.uri_style, S3UriStyle::kPath);
  EXPECT_EQ(config->compression_level, 5);
  EXPECT_EQ(config->s3_connections, 12);
  EXPECT_EQ(config->jobs, 3);
  EXPECT_EQ(config->cipher, Cipher::kAes256Gcm);
  EXPECT_TRUE(config->passphrase == "0123456789abcdef0123456789abcdef");
  EXPECT_EQ(config->retention_full, 0);
  EXPECT_EQ(conf->CountToDo(), 2U) << conf->Format("");  // retention and schedules
  const std::string text = conf->Format("");
  EXPECT_EQ(text.find("wJalr"), std::string::npos);
  EXPECT_EQ(text.find("0123456789"), std::string::npos);
}

TEST_F(ImportWalGTest, Json) {
  const char* const text =
      R"({"WALG_FILE_PREFIX": "/srv/wal-g/main", "walg_upload_disk_concurrency": 2,
          "WALG_FAILOVER_STORAGES": {"s3": {"AWS_SECRET_ACCESS_KEY": "hunter2"}}})";
  EXPECT_EQ(ValueOf(text, "repository"), "/srv/wal-g/veza_backup");
  EXPECT_EQ(ValueOf(text, "cluster"), "main");
  EXPECT_EQ(ValueOf(text, "jobs"), "2");
  EXPECT_EQ(Import(text)->Format("").find("hunter2"), std::string::npos);
  EXPECT_EQ(ValueOf("{\"a\": ", "jobs"), "ERROR \"walg.env\" is not valid JSON");
}

TEST_F(ImportWalGTest, Values) {
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX=s3://bucket\n", "repository"), "s3://bucket/veza_backup");
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX=s3://bucket\n", "cluster"), "(unset)");
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX=s3://bucket/veza_backup/\n", "repository"),
            "s3://bucket/veza_backup-new");
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX=s3://bucket/a\n", "s3_uri_style"), "virtual-host");
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX=s3://bucket/a\n", "cipher"), "none");
  EXPECT_EQ(ValueOf("WALG_PGP_KEY_PATH=/k\n", "cipher"), "(unset)");
  EXPECT_EQ(ValueOf("AWS_REGION=a\nAWS_DEFAULT_REGION=b\n", "s3_region"), "a");
  EXPECT_EQ(ValueOf("AWS_REGION=a\nAWS_REGION=b\n", "s3_region"), "b");
  EXPECT_EQ(ValueOf("AWS_PROFILE=p\n", "s3_credentials"), "profile");
  EXPECT_EQ(ValueOf("AWS_PROFILE=p\nAWS_ACCESS_KEY_ID=AKIA1\n", "s3_credentials"), "(unset)");
  EXPECT_EQ(ValueOf("WALG_S3_SSE=aws:kms\nWALG_S3_SSE_KMS_ID=1\n", "s3_sse_kms_key_id"), "1");
  EXPECT_EQ(ValueOf("WALG_S3_SSE=AES256\nWALG_S3_SSE_KMS_ID=1\n", "s3_sse_kms_key_id"), "(unset)");
  EXPECT_EQ(
      ValueOf("WALG_S3_SSE=aws:kms\nWALG_S3_SSE_C=k\nWALG_S3_SSE_KMS_ID=1\n", "s3_sse_kms_key_id"),
      "(unset)");
  EXPECT_EQ(ValueOf("WALG_DISK_RATE_LIMIT=41943040\n", "max_rate"), "40960kB");
  EXPECT_EQ(ValueOf("WALG_DISK_RATE_LIMIT=1\n", "max_rate"), "1kB");
  EXPECT_EQ(ValueOf("WALG_ZSTD_LEVEL=22\n", "compression_level"), "19");
  EXPECT_EQ(ValueOf("WALG_AZ_PREFIX=azure://x\n", "repository"), "(unset)");
}

TEST_F(ImportWalGTest, TheRepositoryIsNeverInWalGsOwnPlace) {
  EXPECT_NE(ToDoOf("WALG_S3_PREFIX=s3://bucket\n").find("is the whole bucket"), std::string::npos);
  EXPECT_NE(ToDoOf("WALG_S3_PREFIX=s3://bucket/\n").find("is the whole bucket"), std::string::npos);
  for (const char* const path : {"/a/.", "/a/..", "//a", "/a//b", "/a/../b/"}) {
    for (const char* const store : {"WALG_FILE_PREFIX=", "WALG_S3_PREFIX=s3://bucket"}) {
      const std::string text = fmt::format("{}{}\n", store, path);
      EXPECT_EQ(ValueOf(text, "repository"), "(unset)") << text;
      EXPECT_NE(ToDoOf(text).find("Nothing can be told"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(ValueOf("WALG_FILE_PREFIX=/\n", "repository"), "(unset)");
}

TEST_F(ImportWalGTest, CredentialsWithoutKeys) {
  const std::string prefix = "WALG_S3_PREFIX=s3://bucket/a\n";
  EXPECT_EQ(ValueOf(prefix, "s3_credentials"), "auto");
  EXPECT_EQ(ValueOf(prefix + "AWS_ACCESS_KEY_ID=AKIA1\n", "s3_credentials"), "(unset)");
  EXPECT_EQ(ValueOf("WALG_FILE_PREFIX=/a/b\n", "s3_credentials"), "(unset)");
  const std::string role = prefix +
                           "AWS_ROLE_ARN=arn:aws:iam::1:role/r\nAWS_ROLE_SESSION_NAME=wal-g\n"
                           "AWS_PROFILE=p\n";
  const std::string web = role + "AWS_WEB_IDENTITY_TOKEN_FILE=/var/run/token\n";
  EXPECT_EQ(ValueOf(web, "s3_credentials"), "web-identity");
  EXPECT_EQ(ValueOf(web, "s3_web_identity_token_file"), "/var/run/token");
  EXPECT_EQ(ValueOf(web, "s3_role_arn"), "arn:aws:iam::1:role/r");
  EXPECT_EQ(ValueOf(web, "s3_role_session_name"), "wal-g");
  EXPECT_EQ(ValueOf(web, "s3_profile"), "(unset)");
  EXPECT_EQ(ValueOf(web + "AWS_ACCESS_KEY_ID=AKIA1\n", "s3_credentials"), "(unset)");
  EXPECT_EQ(ValueOf(web + "AWS_ACCESS_KEY_ID=AKIA1\n", "s3_role_arn"), "(unset)");
  EXPECT_EQ(ValueOf(role, "s3_role_arn"), "(unset)");
  EXPECT_NE(ToDoOf(role).find("A role is taken"), std::string::npos);
}

TEST_F(ImportWalGTest, WithASessionTokenAllKeysAreInFiles) {
  const std::string keys =
      "AWS_ACCESS_KEY_ID=AKIA1\nAWS_SECRET_ACCESS_KEY=abc\nAWS_SESSION_TOKEN=def\n";
  EXPECT_EQ(ValueOf(keys, "s3_access_key"), "(unset)");
  EXPECT_EQ(ValueOf(keys, "s3_access_key_file"), directory_.path() + "/s3_access_key");
  EXPECT_NE(ToDoOf(keys).find("all three files"), std::string::npos);
}

TEST_F(ImportWalGTest, ARegionIsNeverAssumed) {
  const std::string prefix = "WALG_S3_PREFIX=s3://bucket/a\n";
  EXPECT_NE(ToDoOf(prefix).find("s3_region"), std::string::npos);
  const std::string aws = "AWS_ENDPOINT=https://s3.eu-west-3.amazonaws.com\n";
  EXPECT_NE(ToDoOf(prefix + aws).find("s3_region"), std::string::npos);
  EXPECT_EQ(ToDoOf(prefix + "AWS_REGION=eu\n").find("s3_region"), std::string::npos);
  // WAL-G's own default for other stores.
  EXPECT_EQ(ValueOf(prefix + "AWS_ENDPOINT=http://minio:9000\n", "s3_region"), "us-east-1");
}

TEST_F(ImportWalGTest, WrongFiles) {
  EXPECT_EQ(ValueOf("WALG_S3_PREFIX: s3://bucket/a\n", "repository"),
            "ERROR walg.env line 1: it is not KEY=VALUE");
  EXPECT_EQ(ValueOf("\n=hunter2\n", "repository"), "ERROR walg.env line 2: it is not KEY=VALUE");
  EXPECT_EQ(
      ValueOf("WALG_S3_PREFIX=bucket\n", "repository"),
      "ERROR walg.env line 1: the value of WALG_S3_PREFIX is not an address s3://bucket/path");
  EXPECT_EQ(ValueOf("WALG_UPLOAD_CONCURRENCY=many\n", "jobs"),
            "ERROR walg.env line 1: the value of WALG_UPLOAD_CONCURRENCY is not a number");
  EXPECT_EQ(ReadWalGFile(directory_.path() + "/none").error().code, ErrorCode::kNotFound);
  const auto conf = Import("WALG_LIBSODIUM_KEYS=hunter2\nWALG_LIBSODIUM_KEY=short\n");
  ASSERT_TRUE(conf.has_value());
  EXPECT_EQ(conf->Format("").find("hunter2"), std::string::npos);
  EXPECT_TRUE(conf->secrets().empty());
  EXPECT_FALSE(Read(*conf).contains("cipher_passphrase_file"));
}

// A passphrase that is read in another way than WAL-G gets it is not the passphrase.
TEST_F(ImportWalGTest, ValuesThatAShellMayReadInAnotherWayAreRefused) {
  for (const char* const value : {"hunter2 # comment",
                                  "hunter2\t#",
                                  "'hunter2' # comment",
                                  "\"hunter2\"#",
                                  "hunter2 more",
                                  "'hunter2",
                                  "hunter2'",
                                  "'hun'ter2'",
                                  "'hunter2'\\''x'",
                                  "\"hun\"ter2\"",
                                  "hun\"ter2",
                                  "$HUNTER2hunter2",
                                  "\"$hunter2\"",
                                  "`hunter2`",
                                  "\"`hunter2`\"",
                                  "$(hunter2)",
                                  "hunter2\\",
                                  "\"hunter2\\n\"",
                                  "'hunter2\\'",
                                  "hunter2;",
                                  "hunter2&x",
                                  "hunter2|x",
                                  "hunter2>x",
                                  "(hunter2)",
                                  "~hunter2",
                                  "/a:~/hunter2",
                                  "#hunter2",
                                  "'hunter2'; export X",
                                  "'a' 'hunter2'"}) {
    const auto conf = Import(fmt::format("# x\nexport WALG_LIBSODIUM_KEY={}\n", value));
    ASSERT_FALSE(conf.has_value()) << value;
    EXPECT_EQ(conf.error().message,
              "walg.env line 2: a shell may read this value in another way than it stands there");
    EXPECT_EQ(conf.error().hint.find("hunter2"), std::string::npos);
  }
  const auto key = [&](const std::string& value) {
    const auto conf = Import("WALG_LIBSODIUM_KEY=" + value + "\n", {.writes_secrets = true});
    return conf.has_value() && conf->secrets().size() == 1
               ? std::string(conf->secrets().front().content.text())
               : "ERROR";
  };
  EXPECT_EQ(key("'a b $c `d` #e \"f\" ;&|<>() ~ 012345'"), "a b $c `d` #e \"f\" ;&|<>() ~ 012345");
  EXPECT_EQ(key("\"it's # 0123456789abcdef\""), "it's # 0123456789abcdef");
  EXPECT_EQ(key("0123#456~789=abcdef+/=="), "0123#456~789=abcdef+/==");
}

TEST_F(ImportWalGTest, NoPartOfALineThatMayHoldASecretIsPrinted) {
  const char* const lines[] = {
      "WALG_STREAM_CREATE_COMMAND='xtrabackup -phunter2'",
      "WALG_STREAM_RESTORE_COMMAND='xbstream -phunter2'",
      "WALG_SENTINEL_USER_DATA='{\"k\":\"hunter2\"}'",
      "WALG_S3_ENDPOINT_SOURCE=http://host/?t=hunter2",
      "AWS_ENDPOINT=https://user:hunter2@host",
      "AWS_ENDPOINT=user:hunter2@host",
      "OS_AUTH_URL=https://user:hunter2@host/v3",
      "PGDATABASE='dbname=a password=hunter2'",
      "WALG_S3_PREFIX=s3://user:hunter2@bucket/x",
      "WALG_LIBSODIUM_KEY_PATH=hunter2",  // the key in place of its file
      "WALG_PGP_KEY_PATH=hunter2",
      "WALG_LIBSODIUM_KEYhunter2=x",
      "hunter2=x",
  };
  for (const char* const line : lines) {
    const auto conf = Import(fmt::format("\n{}\n", line));
    ASSERT_TRUE(conf.has_value()) << line << ": " << conf.error().message;
    EXPECT_EQ(conf->Format("").find("hunter2"), std::string::npos) << conf->Format("");
    EXPECT_NE(conf->Format("").find("walg.env line 2: "), std::string::npos) << line;
  }
  // A name in the environment, or in JSON, is no part of a secret.
  EXPECT_NE(Import("{\"WALG_NEW\": \"hunter2\"}")->Format("").find("WALG_NEW=..."),
            std::string::npos);
}

TEST_F(ImportWalGTest, OnlyVariablesOfWalGAreTakenFromTheEnvironment) {
  const OldSettings settings = WalGVariables(
      {{"HOME", "/root"}, {"WALG_NEW", "1"}, {"AWS_REGION", "eu"}, {"PGUSER", "postgres"}});
  ASSERT_EQ(settings.all().size(), 3U);
  EXPECT_EQ(settings.all()[0].key, "WALG_NEW");
}

}  // namespace
}  // namespace veza
