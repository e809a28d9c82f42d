#include "core/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <tuple>

#include "core/config/temporary_directory.h"

namespace veza {
namespace {

constexpr const char* kPassphrase = "0123456789abcdef";

EnvLookup Environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}
EnvLookup NoEnvironment() {
  return Environment({});
}

SettingValues Values(std::initializer_list<std::pair<const char*, std::string>> pairs) {
  SettingValues values;
  for (const auto& [name, text] : pairs) {
    values[name] = SettingValue{text};
  }
  return values;
}

SettingValues S3Values(std::initializer_list<std::pair<const char*, std::string>> more = {}) {
  SettingValues values = Values({{"repository", "s3://bucket/pg"},
                                 {"s3_access_key", "AKIA7"},
                                 {"s3_secret_key", "k7Jd0"},
                                 {"cipher_passphrase", kPassphrase}});
  for (const auto& [name, text] : more) {
    values[name] = SettingValue{text};
  }
  return values;
}

// The server accepts such values, too: it only warns of them when it starts.
TEST(Config, ADirectoryIgnoresSettingsForS3) {
  const TemporaryDirectory directory;
  const std::string empty = directory.Write("empty", "");
  const auto of_directory = [&](const char* name, const std::string& value) {
    return BuildConfig(Values({{"repository", "/srv/backup"}, {name, value}}), NoEnvironment());
  };
  EXPECT_TRUE(of_directory("s3_secret_key_file", empty));
  EXPECT_TRUE(of_directory("s3_ca_file", "/absent"));
  EXPECT_TRUE(of_directory("s3_endpoint", "nonsense"));
  EXPECT_TRUE(of_directory("s3_verify_tls", "nonsense"));
  EXPECT_FALSE(of_directory("s3_connections", "nonsense"));
  EXPECT_FALSE(of_directory("s3_nonsense", "x"));
  EXPECT_FALSE(of_directory("cipher_passphrase_file", empty));
  SettingValues values = S3Values({{"s3_secret_key_file", empty}});
  values.erase("s3_secret_key");
  EXPECT_FALSE(BuildConfig(values, NoEnvironment()));
}

TEST(Config, ADirectoryNeedsNothingElse) {
  const Config config =
      BuildConfig(Values({{"repository", "/srv/backup/"}}), NoEnvironment()).value();
  EXPECT_EQ(config.kind, RepositoryKind::kDirectory);
  EXPECT_EQ(config.directory, "/srv/backup/main");
  EXPECT_EQ(config.cipher, Cipher::kNone);
  EXPECT_TRUE(config.passphrase.empty());
  EXPECT_EQ(config.compression_level, 3);
  EXPECT_GE(config.jobs, 1);
  EXPECT_EQ(config.s3_connections, 8);
  EXPECT_EQ(config.backup_wal_timeout, std::chrono::seconds(600));
  EXPECT_EQ(config.retention_full, 4);
  EXPECT_EQ(config.retention_diff, 7);
  EXPECT_EQ(config.retention_archive, 4);
  EXPECT_EQ(config.schedule.full.value().text(), "0 2 * * 0");
  EXPECT_EQ(config.schedule.diff.value().text(), "0 2 * * 1-6");
  EXPECT_EQ(config.schedule.zone.name(), "UTC");
  EXPECT_EQ(config.schedule.jitter, std::chrono::minutes(5));
  EXPECT_EQ(config.schedule.backup_from, BackupFrom::kPrimary);
}

TEST(Config, S3WithDefaults) {
  const Config config = BuildConfig(S3Values(), NoEnvironment()).value();
  EXPECT_EQ(config.kind, RepositoryKind::kS3);
  EXPECT_EQ(config.s3.bucket, "bucket");
  EXPECT_EQ(config.s3.prefix, "pg/main");
  EXPECT_EQ(config.s3.region, "us-east-1");
  EXPECT_EQ(config.s3.endpoint, "https://s3.us-east-1.amazonaws.com");
  EXPECT_EQ(config.s3.uri_style, S3UriStyle::kPath);
  EXPECT_TRUE(config.s3.verify_tls);
  EXPECT_EQ(config.s3.max_connections, 8);
  EXPECT_EQ(config.s3.access_key, "AKIA7");
  EXPECT_EQ(config.s3.secret_key, "k7Jd0");
  EXPECT_EQ(config.cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(config.passphrase.text(), kPassphrase);
}

TEST(Config, EverySettingArrives) {
  const TemporaryDirectory directory;
  const std::string ca_file = directory.Write("ca.pem", "x");
  SettingValues values = S3Values({{"repository", "s3://bucket"},
                                   {"cluster", "c1"},
                                   {"s3_endpoint", "http://127.0.0.1:9000"},
                                   {"s3_region", "eu-west-1"},
                                   {"s3_uri_style", "VIRTUAL-HOST"},
                                   {"s3_session_token", "t7Jd0"},
                                   {"s3_ca_file", ca_file},
                                   {"s3_verify_tls", "off"},
                                   {"s3_proxy", "http://proxy.example.com:3128"},
                                   {"s3_request_timeout", "2min"},
                                   {"s3_checksum", "MD5"},
                                   {"s3_storage_class", "STANDARD_IA"},
                                   {"s3_sse", "AWS:KMS"},
                                   {"s3_sse_kms_key_id", "alias/backups"},
                                   {"s3_tags", "project=shop"},
                                   {"cipher", "Aes-256-CBC"},
                                   {"compression_level", "-1"},
                                   {"jobs", "7"},
                                   {"s3_connections", "3"},
                                   {"backup_wal_timeout", "2min"},
                                   {"restore_retry_timeout", "1h"},
                                   {"retention_full", "0"},
                                   {"retention_diff", "10000"},
                                   {"retention_archive", "1"},
                                   {"max_rate", "1MB"},
                                   {"archive_look_ahead", "0"},
                                   {"archive_memory", "64MB"},
                                   {"adaptive_compression", "no"},
                                   {"wal_index", "off"},
                                   {"archive_max_age", "1min"},
                                   {"archive_retry_timeout", "1min"},
                                   {"archive_shutdown_timeout", "0"},
                                   {"archive_drop_below", "2GB"},
                                   {"metrics_file", "/var/lib/metrics/veza.prom"},
                                   {"schedule_drill", "0 4 * * 0"},
                                   {"drill_command", "vezactl drill"},
                                   {"schedule_full", "@monthly"},
                                   {"schedule_diff", ""},
                                   {"schedule_timezone", "europe/berlin"},
                                   {"schedule_jitter", "0"},
                                   {"backup_from", "Prefer-Standby"}});
  const Config config = BuildConfig(values, NoEnvironment()).value();
  EXPECT_EQ(config.s3.prefix, "c1");
  EXPECT_EQ(config.s3.endpoint, "http://127.0.0.1:9000");
  EXPECT_EQ(config.s3.region, "eu-west-1");
  EXPECT_EQ(config.s3.uri_style, S3UriStyle::kVirtualHost);
  EXPECT_EQ(config.s3.session_token, "t7Jd0");
  EXPECT_EQ(config.s3.ca_file, ca_file);
  EXPECT_FALSE(config.s3.verify_tls);
  EXPECT_EQ(config.s3.max_connections, 3);
  EXPECT_EQ(config.s3.proxy, "http://proxy.example.com:3128");
  EXPECT_EQ(config.s3.total_timeout, std::chrono::minutes(2));
  EXPECT_EQ(config.s3.objects.checksum, S3Checksum::kMd5);
  EXPECT_EQ(config.s3.objects.storage_class, "STANDARD_IA");
  EXPECT_EQ(config.s3.objects.encryption, S3Encryption::kKms);
  EXPECT_EQ(config.s3.objects.kms_key_id, "alias/backups");
  EXPECT_EQ(config.s3.objects.tags, (S3Tags{{"project", "shop"}}));
  EXPECT_EQ(config.restore_retry_timeout, std::chrono::hours(1));
  EXPECT_EQ(config.cipher, Cipher::kAes256Cbc);
  EXPECT_EQ(config.compression_level, -1);
  EXPECT_EQ(config.jobs, 7);
  EXPECT_EQ(config.s3_connections, 3);
  EXPECT_EQ(config.backup_wal_timeout, std::chrono::minutes(2));
  EXPECT_EQ(config.retention_full, 0);
  EXPECT_EQ(config.retention_diff, 10'000);
  EXPECT_EQ(config.retention_archive, 1);
  EXPECT_EQ(config.max_rate, 1U << 20);
  EXPECT_EQ(config.archive.look_ahead, 0);
  EXPECT_EQ(config.archive.memory, 64U << 20);
  EXPECT_FALSE(config.archive.adaptive_compression);
  EXPECT_FALSE(config.archive.wal_index);
  EXPECT_EQ(config.archive.max_age, std::chrono::minutes(1));
  EXPECT_EQ(config.archive.retry_timeout, std::chrono::minutes(1));
  EXPECT_EQ(config.archive.shutdown_timeout, std::chrono::seconds(0));
  EXPECT_EQ(config.archive.drop_below, 2ULL << 30);
  EXPECT_EQ(config.metrics_file, "/var/lib/metrics/veza.prom");
  EXPECT_EQ(config.drill.schedule.value().text(), "0 4 * * 0");
  EXPECT_EQ(config.drill.command, "vezactl drill");
  EXPECT_FALSE(config.verify.schedule.has_value());
  EXPECT_EQ(config.schedule.full.value().text(), "@monthly");
  EXPECT_FALSE(config.schedule.diff.has_value());
  EXPECT_EQ(config.schedule.zone.name(), "Europe/Berlin");
  EXPECT_EQ(config.schedule.jitter, std::chrono::seconds(0));
  EXPECT_EQ(config.schedule.backup_from, BackupFrom::kPreferStandby);
}

TEST(Config, TheLoginOfAProxyComesFromAFile) {
  const TemporaryDirectory directory;
  const std::string login = directory.Write("login", "backup:p@ss:w\n");
  const Config config =
      BuildConfig(S3Values({{"s3_proxy", "http://10.0.0.1:3128"}, {"s3_proxy_login_file", login}}),
                  NoEnvironment())
          .value();
  EXPECT_EQ(config.s3.proxy_login, "backup:p@ss:w");
  const auto without = BuildConfig(S3Values({{"s3_proxy_login_file", login}}), NoEnvironment());
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().message.find("s3_proxy"), std::string::npos);
}

TEST(Config, EncryptionByTheServerDoesNotFailOpen) {
  const TemporaryDirectory directory;
  const std::string key = directory.Write("key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
  const auto build = [](std::initializer_list<std::pair<const char*, std::string>> more) {
    return BuildConfig(S3Values(more), NoEnvironment());
  };
  const Config defaults = build({}).value();
  EXPECT_EQ(defaults.s3.objects.checksum, S3Checksum::kSha256);
  EXPECT_EQ(defaults.s3.objects.encryption, S3Encryption::kNone);
  EXPECT_EQ(build({{"s3_sse", "AES256"}}).value().s3.objects.encryption, S3Encryption::kAes256);

  const Config customers =
      build({{"s3_sse", "customer-key"}, {"s3_sse_customer_key_file", key}}).value();
  EXPECT_EQ(customers.s3.objects.encryption, S3Encryption::kCustomerKey);
  EXPECT_EQ(customers.s3.objects.customer_key.key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");

  // A key without its kind of encryption, a kind without its key, and a key in clear on the wire.
  for (const auto& more :
       std::initializer_list<std::initializer_list<std::pair<const char*, std::string>>>{
           {{"s3_sse_customer_key_file", key}},
           {{"s3_sse", "aes256"}, {"s3_sse_customer_key_file", key}},
           {{"s3_sse_kms_key_id", "alias/a"}},
           {{"s3_sse", "aes256"}, {"s3_sse_kms_key_id", "alias/a"}},
           {{"s3_sse", "customer-key"}},
           {{"s3_sse", "customer-key"},
            {"s3_sse_customer_key_file", key},
            {"s3_endpoint", "http://127.0.0.1:9000"}}}) {
    const auto config = build(more);
    ASSERT_FALSE(config) << more.begin()->first;
    EXPECT_EQ(config.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(config.error().hint.empty());
  }
}

TEST(Config, AScheduleOfACommandNeedsTheCommand) {
  SettingValues values = Values({{"repository", "/r"}, {"schedule_verify", "@weekly"}});
  const auto config = BuildConfig(values, NoEnvironment());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(config.error().message.find("verify_command"), std::string::npos);
  EXPECT_NE(config.error().hint.find("vezactl"), std::string::npos);
  values["verify_command"] = SettingValue{"vezactl verify"};
  EXPECT_EQ(BuildConfig(values, NoEnvironment()).value().verify.command, "vezactl verify");
}

TEST(Config, WithoutARepositoryTheErrorIsFailedPrecondition) {
  const Error error = BuildConfig({}, NoEnvironment()).error();
  EXPECT_EQ(error.code, ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(error.hint.empty());
}

TEST(Config, KeysComeFromFilesAndTheEnvironment) {
  const TemporaryDirectory directory;
  SettingValues values =
      Values({{"repository", "s3://bucket/pg"},
              {"cipher_passphrase_file", directory.Write("pass", "0123456789abcdef\n")},
              {"s3_access_key", "AKIA7"},
              {"s3_secret_key_file", directory.Write("key", "fromfile\n")}});
  const EnvLookup environment = Environment({{"AWS_ACCESS_KEY_ID", "AKIAENV"},
                                             {"AWS_SECRET_ACCESS_KEY", "fromenv"},
                                             {"AWS_SESSION_TOKEN", "tokenenv"},
                                             {"AWS_REGION", "eu-central-1"},
                                             {"AWS_CA_BUNDLE", directory.Write("ca.pem", "x")}});
  const Config from_files = BuildConfig(values, environment).value();
  EXPECT_EQ(from_files.passphrase.text(), kPassphrase);
  EXPECT_EQ(from_files.s3.access_key, "AKIA7");
  EXPECT_EQ(from_files.s3.secret_key, "fromfile");
  EXPECT_EQ(from_files.s3.session_token, "") << "belongs to the keys of the environment";
  EXPECT_EQ(from_files.s3.region, "eu-central-1");
  EXPECT_EQ(from_files.s3.endpoint, "https://s3.eu-central-1.amazonaws.com");
  EXPECT_EQ(from_files.s3.ca_file, directory.path() + "/ca.pem");

  values.erase("s3_access_key");
  values.erase("s3_secret_key_file");
  const Config from_environment = BuildConfig(values, environment).value();
  EXPECT_EQ(from_environment.s3.access_key, "AKIAENV");
  EXPECT_EQ(from_environment.s3.secret_key, "fromenv");
  EXPECT_EQ(from_environment.s3.session_token, "tokenenv");
}

TEST(Config, TheEnvironmentIsValidatedToo) {
  SettingValues values = S3Values();
  values.erase("s3_secret_key");
  const Error error =
      BuildConfig(values, Environment({{"AWS_SECRET_ACCESS_KEY", "CHANGEME"}})).error();
  EXPECT_NE(error.message.find("AWS_SECRET_ACCESS_KEY"), std::string::npos) << error.message;
  EXPECT_EQ(error.message.find("CHANGEME"), std::string::npos) << error.message;
  EXPECT_FALSE(
      BuildConfig(S3Values(), Environment({{"AWS_CA_BUNDLE", "/nonexistent/ca"}})).has_value());
}

TEST(Config, MissingKeys) {
  SettingValues values = S3Values();
  values.erase("s3_secret_key");
  EXPECT_NE(BuildConfig(values, NoEnvironment()).error().message.find("secret key"),
            std::string::npos);
  values.erase("s3_access_key");
  EXPECT_NE(BuildConfig(values, NoEnvironment()).error().message.find("access key"),
            std::string::npos);
}

TEST(Config, ASecretGivenTwiceIsRefused) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(BuildConfig(S3Values({{"s3_secret_key_file", directory.Write("key", "k7Jd0")}}),
                           NoEnvironment())
                   .has_value());
  EXPECT_FALSE(
      BuildConfig(S3Values({{"cipher_passphrase_file", directory.Write("pass", kPassphrase)}}),
                  NoEnvironment())
          .has_value());
}

TEST(Config, ACommandMayTellThePassphrase) {
  const TemporaryDirectory directory;
  SettingValues values =
      Values({{"repository", "/srv/backup"},
              {"cipher_passphrase_command", "touch " + directory.path() + "/ran"}});
  const Config config = BuildConfig(values, NoEnvironment()).value();
  EXPECT_EQ(config.cipher, Cipher::kAes256Gcm);
  EXPECT_TRUE(config.passphrase.empty());
  EXPECT_EQ(config.passphrase_command, "touch " + directory.path() + "/ran");
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/ran")) << "it is not run yet";

  values["cipher"] = SettingValue{"none"};
  EXPECT_FALSE(BuildConfig(values, NoEnvironment()).has_value());
  values.erase("cipher");
  for (const auto& [name, value] :
       {std::pair<std::string, std::string>("cipher_passphrase", kPassphrase),
        {"cipher_passphrase_file", directory.Write("pass", kPassphrase)}}) {
    values[name] = SettingValue{value};
    const Error error = BuildConfig(values, NoEnvironment()).error();
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_NE(error.message.find("cipher_passphrase_command"), std::string::npos);
    values.erase(name);
  }
}

TEST(Config, TheMirrorHasItsOwnPlaceAndCredentials) {
  const SettingValues first = S3Values({{"mirror", "s3://second/copies"},
                                        {"mirror_config", "/etc/mirror.conf"},
                                        {"s3_region", "eu-west-1"},
                                        {"s3_session_token", "t7Jd0"},
                                        {"s3_connections", "3"},
                                        {"cluster", "c1"}});
  const SettingValues own = {{"s3_endpoint", {"https://s3.second.example"}},
                             {"s3_access_key", {"AKIA8"}},
                             {"s3_secret_key", {"m7Jd0"}}};
  const Config mirror = BuildMirrorConfig(first, own, NoEnvironment()).value();
  EXPECT_EQ(mirror.s3.bucket, "second");
  EXPECT_EQ(mirror.s3.prefix, "copies/c1");
  EXPECT_EQ(mirror.s3.endpoint, "https://s3.second.example");
  EXPECT_EQ(mirror.s3.access_key, "AKIA8");
  EXPECT_EQ(mirror.s3.secret_key, "m7Jd0");
  EXPECT_TRUE(mirror.s3.session_token.empty()) << "the token of the first repository stays here";
  EXPECT_EQ(mirror.s3.region, "us-east-1");
  EXPECT_EQ(mirror.s3.max_connections, 3);
  EXPECT_EQ(mirror.passphrase.text(), kPassphrase);

  // Without a file of its own it is reached as the first one.
  const Config same =
      BuildMirrorConfig(S3Values({{"mirror", "s3://second"}}), {}, NoEnvironment()).value();
  EXPECT_EQ(same.s3.bucket, "second");
  EXPECT_EQ(same.s3.access_key, "AKIA7");

  // The keys of the first repository may be lost.
  SettingValues broken = first;
  broken["s3_secret_key"].text.clear();
  broken["s3_secret_key_file"].text = "/nonexistent/key";
  EXPECT_FALSE(BuildConfig(broken, NoEnvironment()));
  EXPECT_TRUE(BuildMirrorConfig(broken, own, NoEnvironment()));
}

TEST(Config, TheEnvironmentsKeysAreNotSentToTheMirror) {
  const EnvLookup of_first = Environment({{"AWS_ACCESS_KEY_ID", "AKIA9"},
                                          {"AWS_SECRET_ACCESS_KEY", "first"},
                                          {"AWS_SESSION_TOKEN", "token"},
                                          {"AWS_REGION", "eu-west-9"}});
  const SettingValues first = {{"repository", {"s3://first"}},
                               {"cipher", {"none"}},
                               {"mirror", {"s3://second"}},
                               {"mirror_config", {"/etc/mirror.conf"}}};
  SettingValues own = {{"s3_endpoint", {"https://s3.second.example"}}};
  const Result<Config> without_keys = BuildMirrorConfig(first, own, of_first);
  ASSERT_FALSE(without_keys);
  EXPECT_EQ(without_keys.error().message,
            "the file of \"veza_backup.mirror_config\" has no credentials for the mirror");
  own["s3_access_key"].text = "AKIA8";
  EXPECT_FALSE(BuildMirrorConfig(first, own, of_first)) << "half a pair";
  own["s3_secret_key"].text = "m7Jd0";
  const Config mirror = BuildMirrorConfig(first, own, of_first).value();
  EXPECT_EQ(mirror.s3.access_key, "AKIA8");
  EXPECT_EQ(mirror.s3.secret_key, "m7Jd0");
  EXPECT_TRUE(mirror.s3.session_token.empty());
  EXPECT_EQ(mirror.s3.region, "us-east-1");
  // What is asked for by name is looked for in the file, too.
  own = {{"s3_credentials", {"static"}}};
  EXPECT_FALSE(BuildMirrorConfig(first, own, of_first));
  // Without a file of its own, the mirror is reached as the first repository is.
  SettingValues shared = first;
  shared.erase("mirror_config");
  EXPECT_EQ(BuildMirrorConfig(shared, {}, of_first).value().s3.access_key, "AKIA9");
}

TEST(Config, TheMirrorHasTheCipherOfTheRepository) {
  SettingValues plain = {{"repository", {"/srv/first"}},
                         {"mirror", {"s3://second"}},
                         {"s3_access_key", {"AKIA8"}},
                         {"s3_secret_key", {"m7Jd0"}}};
  const Result<Config> without_consent = BuildMirrorConfig(plain, {}, NoEnvironment());
  ASSERT_FALSE(without_consent);
  EXPECT_EQ(
      without_consent.error().message,
      "the repository is not encrypted, and \"veza_backup.mirror\" would store it on S3 as it "
      "is");
  plain["cipher"].text = "none";
  EXPECT_EQ(BuildMirrorConfig(plain, {}, NoEnvironment()).value().cipher, Cipher::kNone);
  const SettingValues sealed = S3Values({{"mirror", "/srv/second"}});
  const Config mirror = BuildMirrorConfig(sealed, {}, NoEnvironment()).value();
  EXPECT_EQ(mirror.cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(mirror.directory, "/srv/second/main");
}

TEST(Config, AMirrorThatIsNoneIsRefused) {
  const auto refusal = [](const SettingValues& values, const SettingValues& own = {}) {
    const Result<Config> config = BuildMirrorConfig(values, own, NoEnvironment());
    return config ? Error{ErrorCode::kInternal, "accepted"} : config.error();
  };
  EXPECT_EQ(refusal(S3Values({})).code, ErrorCode::kFailedPrecondition);
  EXPECT_EQ(refusal(S3Values({{"mirror", "relative"}})).code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(refusal(S3Values({{"mirror", "s3://second"}, {"cipher", "rot13"}})).code,
            ErrorCode::kInvalidArgument);
  const Error other =
      refusal(S3Values({{"mirror", "s3://second"}, {"mirror_config", "/etc/mirror.conf"}}),
              {{"retention_full", {"1", "file \"/etc/mirror.conf\" line 2"}}});
  EXPECT_EQ(other.message,
            "file \"/etc/mirror.conf\" line 2 sets \"veza_backup.retention_full\", which is not of "
            "the mirror alone");

  // One place, or one in the other.
  for (const auto& [repository, mirror, is_apart] :
       {std::tuple("s3://bucket/pg", "s3://bucket/pg", false),
        std::tuple("s3://bucket/pg", "s3://bucket/pg/copy", false),
        std::tuple("s3://bucket/pg", "s3://bucket", false),
        std::tuple("s3://bucket/pg", "s3://bucket/pg2", true),
        std::tuple("s3://bucket/pg", "s3://other/pg", true),
        std::tuple("/srv/pg", "/srv/pg", false), std::tuple("/srv/pg/copy", "/srv/pg", false),
        std::tuple("/srv/pg", "/srv/pg-copy", true)}) {
    SettingValues values = S3Values({{"mirror", mirror}});
    values["repository"].text = repository;
    EXPECT_EQ(refusal(values).message,
              is_apart ? "accepted"
                       : "\"veza_backup.mirror\" and \"veza_backup.repository\" are one place, or "
                         "one of them lies in the other")
        << repository << " " << mirror;
  }
  // The default port is no other endpoint.
  EXPECT_NE(refusal(S3Values({{"repository", "s3://bucket/pg"},
                              {"mirror", "s3://bucket/pg"},
                              {"s3_endpoint", "https://s3.first.example"},
                              {"mirror_config", "/etc/mirror.conf"}}),
                    {{"s3_endpoint", {"https://S3.first.example:443/"}},
                     {"s3_access_key", {"AKIA8"}},
                     {"s3_secret_key", {"m7Jd0"}}})
                .message.find("are one place"),
            std::string::npos);
  // The same name at another endpoint is another place.
  EXPECT_EQ(refusal(S3Values({{"repository", "s3://bucket/pg"},
                              {"mirror", "s3://bucket/pg"},
                              {"mirror_config", "/etc/mirror.conf"}}),
                    {{"s3_endpoint", {"https://s3.second.example"}},
                     {"s3_access_key", {"AKIA8"}},
                     {"s3_secret_key", {"m7Jd0"}}})
                .message,
            "accepted");
}

TEST(Config, TheFileOfTheMirrorIsRead) {
  const TemporaryDirectory directory;
  const std::string own = directory.Write(
      "mirror.conf", "veza_backup.s3_access_key = 'AKIA8'\nveza_backup.s3_secret_key = 'm7Jd0'\n");
  const std::string path =
      directory.Write("veza.conf",
                      "veza_backup.repository = '/srv/first'\nveza_backup.mirror = 's3://second'\n"
                      "veza_backup.cipher = 'none'\nveza_backup.mirror_config = '" +
                          own + "'\n");
  EXPECT_EQ(LoadMirrorConfig(path).value().s3.access_key, "AKIA8");
  EXPECT_EQ(LoadConfig(path).value().directory, "/srv/first/main");
  std::filesystem::permissions(path, std::filesystem::perms(0666));
  EXPECT_EQ(LoadMirrorConfig(path).error().code, ErrorCode::kPermissionDenied);
  std::filesystem::permissions(path, std::filesystem::perms(0600));
  std::filesystem::remove(own);
  EXPECT_EQ(LoadMirrorConfig(path).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(LoadConfig(path)) << "the mirror keeps nobody from the first repository";
}

// vezactl runs the command, perhaps as root.
TEST(Config, ACommandFromAFileThatOthersCanWriteIsRefused) {
  const TemporaryDirectory directory;
  const std::string path =
      directory.Write("veza_backup.conf",
                      "veza_backup.repository = '/srv/backup'\n"
                      "veza_backup.cipher_passphrase_command = 'cat /etc/passphrase'\n",
                      0644);
  EXPECT_TRUE(LoadConfig(path).has_value());
  for (const mode_t mode : {0664, 0646}) {
    chmod(path.c_str(), mode);
    const Error error = LoadConfig(path).error();
    EXPECT_EQ(error.code, ErrorCode::kPermissionDenied);
    EXPECT_NE(error.message.find(path), std::string::npos) << error.message;
  }
  const std::string includes =
      directory.Write("includes.conf", "include 'veza_backup.conf'\n", 0600);
  EXPECT_EQ(LoadConfig(includes).error().code, ErrorCode::kPermissionDenied)
      << "the file that holds the command counts";
}

// Their content is sent to the server that the same file may name.
TEST(Config, AFileToBeSentIsOnlyTakenFromAFileThatOthersCannotWrite) {
  const TemporaryDirectory directory;
  const std::string token = directory.Write("token", "token7");
  const std::string keys =
      "veza_backup.repository = 's3://bucket/pg'\nveza_backup.cipher = 'none'\n";
  const std::string fixed = "veza_backup.s3_secret_key = 'k7Jd0'\n";
  for (const std::string& more :
       {fixed + "veza_backup.s3_access_key_file",
        fixed + "veza_backup.s3_access_key = 'AKIA7'\nveza_backup.s3_session_token_file",
        std::string("veza_backup.s3_credentials = 'web-identity'\n"
                    "veza_backup.s3_role_arn = 'arn:aws:iam::1:role/x'\n"
                    "veza_backup.s3_web_identity_token_file")}) {
    const std::string path =
        directory.Write("veza_backup.conf", keys + more + " = '" + token + "'\n", 0644);
    const Result<Config> config = LoadConfig(path);
    EXPECT_TRUE(config) << config.error().message;
    chmod(path.c_str(), 0664);
    const Result<Config> refused = LoadConfig(path);
    ASSERT_FALSE(refused) << more;
    EXPECT_EQ(refused.error().code, ErrorCode::kPermissionDenied);
  }
}

// Who can write the configuration must not get a token that the environment of its reader gives.
TEST(Config, ATokenOfTheEnvironmentGoesOnlyWhereATrustedFileLeadsIt) {
  const TemporaryDirectory directory;
  const std::string token = directory.Write("token", "eyJhbGciOi");
  const std::string ca_file = directory.Write("ca.crt", "certificates");
  const std::string base =
      "veza_backup.repository = 's3://bucket/pg'\nveza_backup.cipher = 'none'\n";
  const auto load = [&](const std::string& more, mode_t mode) {
    const std::string path = directory.Write("veza_backup.conf", base + more, mode);
    chmod(path.c_str(), mode);
    const Result<Config> config = LoadConfig(path);
    return config ? "" : config.error().message;
  };
  const std::string places[] = {"veza_backup.s3_sts_endpoint = 'https://sts.example.com'\n",
                                "veza_backup.s3_proxy = 'http://proxy.example.com:3128'\n",
                                "veza_backup.s3_ca_file = '" + ca_file + "'\n"};
  setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token.c_str(), 1);
  setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/backup", 1);
  const std::string web = "veza_backup.s3_credentials = 'web-identity'\n";
  for (const std::string& place : places) {
    EXPECT_EQ(load(web + place, 0644), "");
    EXPECT_THAT(load(web + place, 0664), testing::HasSubstr("others can write it")) << place;
  }
  EXPECT_EQ(load(web, 0664), "") << "nothing leads the token away from AWS";
  // Keys of the configuration itself: no token is sent.
  const std::string keys =
      "veza_backup.s3_access_key = 'AKIA7'\n"
      "veza_backup.s3_secret_key = 'k7Jd0'\n";
  EXPECT_EQ(load(keys + places[1] + places[2], 0664), "");
  unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
  unsetenv("AWS_ROLE_ARN");

  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://127.0.0.1/credentials", 1);
  const std::string container = "veza_backup.s3_credentials = 'container'\n";
  EXPECT_EQ(load(container + places[1], 0664), "") << "the service is asked without a proxy";
  EXPECT_EQ(load(container + places[2], 0644), "");
  EXPECT_THAT(load(container + places[2], 0664), testing::HasSubstr("others can write it"));
  unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

TEST(Config, EncryptionDoesNotFailOpen) {
  const auto build = [](std::initializer_list<std::pair<const char*, std::string>> pairs) {
    return BuildConfig(Values(pairs), NoEnvironment());
  };
  SettingValues without = S3Values();
  without.erase("cipher_passphrase");
  EXPECT_EQ(BuildConfig(without, NoEnvironment()).error().code, ErrorCode::kInvalidArgument);
  without["cipher"] = SettingValue{"none"};
  EXPECT_EQ(BuildConfig(without, NoEnvironment()).value().cipher, Cipher::kNone);
  EXPECT_FALSE(BuildConfig(S3Values({{"cipher", "none"}}), NoEnvironment()).has_value());

  EXPECT_EQ(build({{"repository", "/b"}, {"cipher_passphrase", kPassphrase}}).value().cipher,
            Cipher::kAes256Gcm);
  EXPECT_FALSE(build({{"repository", "/b"}, {"cipher", "aes-256-gcm"}}).has_value());
  EXPECT_FALSE(build({{"repository", "/b"}, {"cipher", "none"}, {"cipher_passphrase", kPassphrase}})
                   .has_value());
}

TEST(Config, LoadNamesTheLineOfABadValue) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("veza_backup.conf",
                                           "veza_backup.repository = '/srv/backup'\n"
                                           "veza_backup.jobs = many\n");
  const Error error = LoadConfig(path).error();
  EXPECT_EQ(error.message, "file \"" + path +
                               "\" line 2: invalid value for \"veza_backup.jobs\": \"many\" is not "
                               "an integer");
  directory.Write("veza_backup.conf",
                  "veza_backup.jobs = many\n"
                  "veza_backup.repository = '/srv/backup'\n"
                  "veza_backup.jobs = 2\n");
  EXPECT_EQ(LoadConfig(path).value().jobs, 2) << "only the value in force counts";
}

TEST(Config, WrongServerSettingsDoNotKeepVezactlFromRestoring) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("veza_backup.conf",
                                           "veza_backup.repository = '/srv/backup'\n"
                                           "veza_backup.schedule_timezone = 'Mars/Olympus'\n"
                                           "veza_backup.schedule_full = '0 25 * * *'\n");
  EXPECT_EQ(LoadConfig(path).value().schedule.zone.name(), "UTC");
}

TEST(Config, ListsSecretsThatStandInSettings) {
  SettingValues values = S3Values({});
  values["s3_secret_key"].file = "/etc/postgresql.conf";
  const Config config = BuildConfig(values, NoEnvironment()).value();
  ASSERT_FALSE(config.inline_secrets.empty());
  const auto found =
      std::ranges::find(config.inline_secrets, "s3_secret_key", &InlineSecret::setting);
  ASSERT_NE(found, config.inline_secrets.end());
  EXPECT_EQ(found->file, "/etc/postgresql.conf");
  EXPECT_EQ(found->value, config.s3.secret_key.text());
  // Also for a repository in a directory, because the configuration files contain the secrets
  // nevertheless.
  const Config of_directory =
      BuildConfig(Values({{"repository", "/srv/backup"}, {"s3_secret_key", "k7Jd0"}}),
                  NoEnvironment())
          .value();
  ASSERT_EQ(of_directory.inline_secrets.size(), 1U);
  EXPECT_EQ(of_directory.inline_secrets.front().value, "k7Jd0");
  WipeSecrets(values);
  EXPECT_EQ(values["s3_secret_key"].text, "");
  EXPECT_NE(values["repository"].text, "");
}

}  // namespace
}  // namespace veza
