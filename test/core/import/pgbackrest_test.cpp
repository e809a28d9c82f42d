#include "core/import/pgbackrest.h"

#include <gtest/gtest.h>

#include "core/import/import_fixture.h"
#include "core/import/pgbackrest_file.h"

namespace veza {
namespace {

// All options of pgBackRest 2.60, from build/config/config.yaml.
constexpr const char* kOptionsOf260[] = {
    "allow-root",
    "annotation",
    "archive-async",
    "archive-check",
    "archive-copy",
    "archive-expire-before",
    "archive-get-queue-max",
    "archive-header-check",
    "archive-missing-retry",
    "archive-mode",
    "archive-mode-check",
    "archive-push-batch-size",
    "archive-push-queue-max",
    "archive-timeout",
    "backup-standby",
    "beta",
    "buffer-size",
    "checksum-page",
    "cmd",
    "cmd-ssh",
    "compress",
    "compress-level",
    "compress-level-network",
    "compress-type",
    "config",
    "config-include-path",
    "config-path",
    "db-exclude",
    "db-include",
    "db-timeout",
    "delta",
    "detail-level",
    "dry-run",
    "exclude",
    "exec-id",
    "expire-auto",
    "filter",
    "force",
    "help",
    "ignore-missing",
    "io-timeout",
    "job-retry",
    "job-retry-interval",
    "link-all",
    "link-map",
    "lock",
    "lock-path",
    "log-level-console",
    "log-level-file",
    "log-level-stderr",
    "log-path",
    "log-subprocess",
    "log-timestamp",
    "manifest-save-threshold",
    "neutral-umask",
    "oldest",
    "online",
    "output",
    "page-header-check",
    "pg",
    "pg-database",
    "pg-host",
    "pg-host-ca-file",
    "pg-host-ca-path",
    "pg-host-cert-file",
    "pg-host-cmd",
    "pg-host-config",
    "pg-host-config-include-path",
    "pg-host-config-path",
    "pg-host-key-file",
    "pg-host-port",
    "pg-host-type",
    "pg-host-user",
    "pg-local",
    "pg-path",
    "pg-port",
    "pg-socket-path",
    "pg-user",
    "pg-version-force",
    "priority",
    "process",
    "process-max",
    "protocol-timeout",
    "raw",
    "recovery-option",
    "recurse",
    "reference",
    "remote-type",
    "repo",
    "repo-azure-account",
    "repo-azure-container",
    "repo-azure-endpoint",
    "repo-azure-key",
    "repo-azure-key-type",
    "repo-azure-uri-style",
    "repo-block",
    "repo-block-age-map",
    "repo-block-checksum-size-map",
    "repo-block-size-map",
    "repo-block-size-super",
    "repo-block-size-super-full",
    "repo-bundle",
    "repo-bundle-limit",
    "repo-bundle-size",
    "repo-cipher-pass",
    "repo-cipher-type",
    "repo-gcs-bucket",
    "repo-gcs-endpoint",
    "repo-gcs-key",
    "repo-gcs-key-type",
    "repo-gcs-user-project",
    "repo-hardlink",
    "repo-host",
    "repo-host-ca-file",
    "repo-host-ca-path",
    "repo-host-cert-file",
    "repo-host-cmd",
    "repo-host-config",
    "repo-host-config-include-path",
    "repo-host-config-path",
    "repo-host-key-file",
    "repo-host-port",
    "repo-host-type",
    "repo-host-user",
    "repo-local",
    "repo-path",
    "repo-retention-archive",
    "repo-retention-archive-type",
    "repo-retention-diff",
    "repo-retention-full",
    "repo-retention-full-type",
    "repo-retention-history",
    "repo-s3-bucket",
    "repo-s3-endpoint",
    "repo-s3-key",
    "repo-s3-key-secret",
    "repo-s3-key-type",
    "repo-s3-kms-key-id",
    "repo-s3-process-cmd",
    "repo-s3-region",
    "repo-s3-requester-pays",
    "repo-s3-role",
    "repo-s3-service",
    "repo-s3-sse-customer-key",
    "repo-s3-sts-host",
    "repo-s3-token",
    "repo-s3-uri-style",
    "repo-sftp-host",
    "repo-sftp-host-fingerprint",
    "repo-sftp-host-key-check-type",
    "repo-sftp-host-key-hash-type",
    "repo-sftp-host-port",
    "repo-sftp-host-user",
    "repo-sftp-known-host",
    "repo-sftp-private-key-file",
    "repo-sftp-private-key-passphrase",
    "repo-sftp-public-key-file",
    "repo-storage-ca-file",
    "repo-storage-ca-path",
    "repo-storage-host",
    "repo-storage-port",
    "repo-storage-prefetch",
    "repo-storage-read-over",
    "repo-storage-tag",
    "repo-storage-upload-chunk-size",
    "repo-storage-verify-tls",
    "repo-symlink",
    "repo-target-time",
    "repo-type",
    "report",
    "resume",
    "sck-block",
    "sck-keep-alive",
    "set",
    "sort",
    "spool-path",
    "stanza",
    "start-fast",
    "stop-auto",
    "tablespace-map",
    "tablespace-map-all",
    "target",
    "target-action",
    "target-exclusive",
    "target-timeline",
    "tcp-keep-alive-count",
    "tcp-keep-alive-idle",
    "tcp-keep-alive-interval",
    "tls-cipher-12",
    "tls-cipher-13",
    "tls-server-address",
    "tls-server-auth",
    "tls-server-ca-file",
    "tls-server-cert-file",
    "tls-server-key-file",
    "tls-server-port",
    "type",
    "verbose",
    "version",
};

constexpr const char* kRole = R"(# made by Ansible
[global]
repo1-type=s3
repo1-path=/pgbackrest
repo1-s3-endpoint=minio.lxd
repo1-storage-port=9000
repo1-s3-bucket=veza-pgbackrest
repo1-s3-region=eu-west-3
repo1-s3-uri-style=path
repo1-s3-key=AKIAIOSFODNN7EXAMPLE
repo1-s3-key-secret=wJalrXUtnFEMI/K7MDENG+bPxRfiCYzEXAMKEY
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=correct horse battery staple = ' # 64
repo1-retention-full=4
repo1-retention-diff=7
repo1-retention-archive=4
compress-type=zst
compress-level=3
process-max=2
log-level-console=info
start-fast=y

[global:archive-push]
process-max=8

[veza]
pg1-path=/var/lib/postgresql/15/main
)";

class ImportPgBackRestTest : public ImportFixture {
 protected:
  Result<ImportedConf> Translate(std::string_view text, const ImportOptions& options) override {
    OldSettings settings;
    RETURN_IF_ERROR(ParsePgBackRestText(text, "old.conf", settings));
    return ImportPgBackRest(settings, options);
  }
  std::string S3(const std::string& lines, const char* setting) {
    return ValueOf("[global]\nrepo1-type=s3\nrepo1-s3-bucket=bucket\nrepo1-s3-endpoint=host\n" +
                       lines + "\n[main]\n",
                   setting);
  }
  std::string Global(const std::string& lines, const char* setting) {
    return ValueOf("[global]\n" + lines + "\n[main]\npg1-path=/d\n", setting);
  }
  Error ErrorOf(std::string_view text, ImportOptions options = {}) {
    const auto conf = Import(text, std::move(options));
    EXPECT_FALSE(conf.has_value()) << text;
    return conf.has_value() ? Error{} : conf.error();
  }
  ImportedLine LineOf(std::string_view text, std::string_view part) {
    const auto conf = Import(text);
    EXPECT_TRUE(conf.has_value()) << conf.error().message;
    for (const ImportedLine& line : conf->lines()) {
      if (line.origin.find(part) != std::string::npos) {
        return line;
      }
    }
    ADD_FAILURE() << "no line from " << part;
    return {};
  }
};

TEST_F(ImportPgBackRestTest, EveryOptionHasOneRow) {
  ExpectOneRowEach(PgBackRestOptionNames(), kOptionsOf260);
}

TEST_F(ImportPgBackRestTest, NoLineIsDropped) {
  for (const char* const name : kOptionsOf260) {
    std::string option = name;
    const bool is_numbered = option.starts_with("repo-") || option.starts_with("pg-");
    option.insert(is_numbered ? option.find('-') : 0, is_numbered ? "1" : "");
    const std::string text = fmt::format("[global]\n{}=y\n[s]\n", option);
    const auto conf = Import(text);
    if (!conf.has_value()) {  // "y" is no value for it
      EXPECT_NE(conf.error().message.find("old.conf line 2"), std::string::npos) << option;
      continue;
    }
    const ImportedLine line = LineOf(text, option);
    EXPECT_TRUE(!line.settings.empty() || !(line.remark + line.to_do).empty()) << option;
  }
}

TEST_F(ImportPgBackRestTest, TheRoleBecomesAConfigurationThatWorks) {
  const auto conf = Import(kRole, {.writes_secrets = true});
  ASSERT_TRUE(conf.has_value()) << conf.error().message;
  ASSERT_EQ(conf->secrets().size(), 2U);
  const auto config = Build(*conf);
  ASSERT_TRUE(config.has_value()) << config.error().message << "\n" << conf->Format("");
  EXPECT_EQ(config->s3.bucket, "veza-pgbackrest");
  EXPECT_EQ(config->s3.prefix, "veza_backup/veza");
  EXPECT_EQ(config->s3.endpoint, "https://minio.lxd:9000");
  EXPECT_EQ(config->s3.region, "eu-west-3");
  EXPECT_EQ(config->s3.uri_style, S3UriStyle::kPath);
  EXPECT_EQ(config->cluster, "veza");
  EXPECT_EQ(config->cipher, Cipher::kAes256Cbc);
  EXPECT_TRUE(config->passphrase == "correct horse battery staple = ' # 64");
  EXPECT_EQ(config->retention_full, 4);
  EXPECT_EQ(config->retention_diff, 7);
  EXPECT_EQ(config->retention_incr, 0);
  EXPECT_EQ(config->retention_archive, 4);
  EXPECT_EQ(config->compression_level, 3);
  EXPECT_EQ(config->jobs, 2);
  // The times of backups are all that is left to decide.
  EXPECT_EQ(conf->CountToDo(), 1U) << conf->Format("");
  EXPECT_FALSE(config->schedule.full.has_value());
}

TEST_F(ImportPgBackRestTest, SecretsAreNeverPrinted) {
  for (const bool writes : {false, true}) {
    const auto conf = Import(kRole, {.writes_secrets = writes});
    ASSERT_TRUE(conf.has_value()) << conf.error().message;
    const std::string text = conf->Format("");
    EXPECT_EQ(text.find("horse"), std::string::npos);
    EXPECT_EQ(text.find("wJalr"), std::string::npos);
    EXPECT_NE(text.find("veza_backup.cipher_passphrase_file"), std::string::npos);
    EXPECT_EQ(text.find("was not copied") == std::string::npos, writes);
  }
  // Not by a mistyped name, and not in an error.
  const auto slip = Import("[global]\nrepo1-cypher-pass=hunter2\n[s]\n");
  EXPECT_EQ(slip->Format("").find("hunter2"), std::string::npos);
  EXPECT_EQ(ErrorOf("[global]\nrepo1-s3-uri-style=hunter2\n[s]\n").message.find("hunter2"),
            std::string::npos);
  EXPECT_EQ(ErrorOf("[global]\nhunter2\n").message.find("hunter2"), std::string::npos);
}

// Nothing of it is printed, wherever it stands in a line.
TEST_F(ImportPgBackRestTest, NoPartOfALineThatMayHoldASecretIsPrinted) {
  const char* const lines[] = {
      "recovery-option=primary_conninfo=host=a password=hunter2",
      "cmd-ssh=sshpass -p hunter2 ssh",
      "pg1-host-cmd=env PGPASSWORD=hunter2 pgbackrest",
      "repo1-storage-host=https://user:hunter2@host:9000",
      "repo1-storage-host=https://user:hunter2/x@host",
      "repo1-s3-endpoint=user:hunter2@host",
      "pg1-database=dbname=x password = hunter2",
      "repo1-sftp-private-key-file=hunter2",
      // The '=' was forgotten, or the secret was broken into two lines.
      "repo1-cipher-pass hunter2==",
      "repo1-cipher-passhunter2=x",
      "hunter2+/==",
      "hunter2=x",
  };
  for (const char* const line : lines) {
    const std::string text =
        fmt::format("[global]\nrepo1-type=s3\nrepo1-s3-bucket=b\n{}\n[s]\n", line);
    const auto conf = Import(text);
    ASSERT_TRUE(conf.has_value()) << line << ": " << conf.error().message;
    EXPECT_EQ(conf->Format("").find("hunter2"), std::string::npos) << conf->Format("");
    EXPECT_NE(conf->Format("").find("old.conf line 4: [global] "), std::string::npos) << line;
  }
}

TEST_F(ImportPgBackRestTest, ASecretThatTheServerWouldRefuseIsNotCopied) {
  const auto conf = Import(
      "[global]\nrepo1-type=s3\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=short\n"
      "repo1-s3-key-secret=CHANGEME\n[s]\n");
  ASSERT_TRUE(conf.has_value());
  EXPECT_TRUE(conf->secrets().empty());
  EXPECT_FALSE(Read(*conf).contains("cipher_passphrase_file"));
  EXPECT_FALSE(Read(*conf).contains("s3_secret_key_file"));
}

TEST_F(ImportPgBackRestTest, TheRepositoryIsNeverPgBackRestsOwnPlace) {
  EXPECT_EQ(Global("", "repository"), "/var/lib/veza_backup");
  EXPECT_EQ(Global("repo1-path=/srv/pgbackrest", "repository"), "/srv/veza_backup");
  EXPECT_EQ(Global("repo1-path=/srv/veza_backup/", "repository"), "/srv/veza_backup-new");
  EXPECT_EQ(S3("repo1-path=/", "repository"), "s3://bucket/veza_backup");
  EXPECT_EQ(S3("repo1-path=/a/b", "repository"), "s3://bucket/a/veza_backup");
  EXPECT_EQ(S3("repo1-path=/veza_backup", "repository"), "s3://bucket/veza_backup-new");
  // Where the bucket is the repository, everything lies in it.
  EXPECT_NE(ToDoOf("[global]\nrepo1-type=s3\nrepo1-s3-bucket=b\nrepo1-path=/\n[s]\n")
                .find("is the whole bucket"),
            std::string::npos);
  for (const char* const path : {"/srv/pgbackrest/.", "/srv/pgbackrest/..", "/srv/./pgbackrest",
                                 "/srv//pgbackrest", "//srv", "/srv/../pgbackrest/", "/..", "/."}) {
    const std::string line = fmt::format("repo1-path={}", path);
    EXPECT_EQ(Global(line, "repository"), "(unset)") << path;
    EXPECT_EQ(S3(line, "repository"), "(unset)") << path;
    EXPECT_NE(ToDoOf("[global]\n" + line + "\n[s]\n").find("Nothing can be told"),
              std::string::npos)
        << path;
  }
  EXPECT_EQ(Global("repo1-path=/", "repository"), "(unset)");
  EXPECT_EQ(Global("repo1-path=/srv/..a/.b", "repository"), "/srv/..a/veza_backup");
}

TEST_F(ImportPgBackRestTest, TypesWithoutCounterpartAreSaid) {
  for (const char* const type : {"azure", "gcs", "sftp"}) {
    const std::string text = fmt::format("[global]\nrepo1-type={}\n[s]\n", type);
    EXPECT_EQ(ValueOf(text, "repository"), "(unset)");
    EXPECT_NE(LineOf(text, "repo1-type").to_do, "");
  }
  EXPECT_EQ(Global("repo1-host=backup", "repository"), "(unset)");
  EXPECT_NE(LineOf("[global]\nrepo1-host=backup\n[s]\n", "repo1-host").to_do, "");
}

TEST_F(ImportPgBackRestTest, Endpoints) {
  EXPECT_EQ(S3("", "s3_endpoint"), "https://host");
  EXPECT_EQ(S3("repo1-storage-port=443", "s3_endpoint"), "https://host");
  EXPECT_EQ(S3("repo1-storage-host=10.0.0.1\nrepo1-storage-port=9000", "s3_endpoint"),
            "https://10.0.0.1:9000");
  EXPECT_EQ(S3("repo1-storage-host=http://10.0.0.1:9000", "s3_endpoint"), "http://10.0.0.1:9000");
  EXPECT_EQ(S3("repo1-storage-host=https://[fe80::1]:9000", "s3_endpoint"),
            "https://[fe80::1]:9000");
  EXPECT_EQ(S3("repo1-s3-host=other", "s3_endpoint"), "https://other");
  EXPECT_EQ(S3("", "s3_uri_style"), "virtual-host");
}

TEST_F(ImportPgBackRestTest, Credentials) {
  EXPECT_EQ(S3("repo1-s3-key-type=shared", "s3_credentials"), "static");
  EXPECT_EQ(S3("repo1-s3-key-type=auto", "s3_credentials"), "instance");
  EXPECT_EQ(S3("repo1-s3-key-type=web-id\nrepo1-s3-sts-host=sts.local", "s3_credentials"),
            "web-identity");
  EXPECT_EQ(S3("repo1-s3-key-type=web-id\nrepo1-s3-sts-host=sts.local", "s3_sts_endpoint"),
            "https://sts.local");
  EXPECT_EQ(S3("repo1-s3-sts-host=sts.local", "s3_sts_endpoint"), "(unset)");
  EXPECT_EQ(S3("repo1-s3-key-type=pod-id", "s3_credentials"), "container");
  EXPECT_EQ(S3("repo1-s3-key-type=process\nrepo1-s3-process-cmd=a", "s3_credentials"), "(unset)");
  EXPECT_EQ(S3("repo1-s3-kms-key-id=1234", "s3_sse"), "aws:kms");
  EXPECT_EQ(S3("repo1-storage-tag=a=b\nrepo1-storage-tag=c=d", "s3_tags"), "a=b, c=d");
  EXPECT_EQ(S3("repo1-storage-verify-tls=n", "s3_verify_tls"), "off");
  EXPECT_EQ(Global("repo1-s3-region=eu", "s3_region"), "(unset)");
}

TEST_F(ImportPgBackRestTest, TheStoreEncryptsInOneWay) {
  const std::string both = "repo1-s3-kms-key-id=1234\nrepo1-s3-sse-customer-key=c2VjcmV0";
  EXPECT_EQ(S3(both, "s3_sse"), "aws:kms");
  EXPECT_EQ(S3(both, "s3_sse_customer_key_file"), "(unset)");
  EXPECT_NE(ToDoOf("[global]\nrepo1-type=s3\n" + both + "\n[s]\n").find("s3_sse"),
            std::string::npos);
}

// A program that renews a token has to renew the key that it was issued with.
TEST_F(ImportPgBackRestTest, WithASessionTokenAllKeysAreInFiles) {
  const std::string keys = "repo1-s3-key=AKIA1\nrepo1-s3-key-secret=abc\nrepo1-s3-token=def\n";
  EXPECT_EQ(S3(keys, "s3_access_key"), "(unset)");
  EXPECT_EQ(S3(keys, "s3_access_key_file"), directory_.path() + "/s3_access_key");
  EXPECT_NE(ToDoOf("[global]\nrepo1-type=s3\n" + keys + "[s]\n").find("all three files"),
            std::string::npos);
  // The server refuses settings of another provider.
  EXPECT_EQ(S3(keys + "repo1-s3-key-type=auto", "s3_access_key_file"), "(unset)");
  EXPECT_EQ(S3(keys + "repo1-s3-key-type=auto", "s3_secret_key_file"), "(unset)");
  EXPECT_EQ(S3(keys + "repo1-s3-key-type=auto", "s3_session_token_file"), "(unset)");
}

TEST_F(ImportPgBackRestTest, WhatPgBackRestRequiresIsMissed) {
  const std::string without = ToDoOf("[global]\nrepo1-type=s3\n[s]\n");
  for (const char* const option : {"repo-s3-bucket", "repo-s3-endpoint", "repo-s3-region",
                                   "repo-s3-key", "repo-s3-key-secret"}) {
    EXPECT_NE(without.find(fmt::format("{} is not set", option)), std::string::npos) << option;
  }
  EXPECT_EQ(ToDoOf("[global]\nrepo1-type=s3\nrepo1-s3-key-type=auto\n[s]\n").find("repo-s3-key is"),
            std::string::npos);
}

TEST_F(ImportPgBackRestTest, Retention) {
  EXPECT_EQ(Global("", "retention_full"), "0");
  EXPECT_EQ(Global("", "retention_diff"), "0");
  EXPECT_EQ(Global("", "retention_archive"), "0");
  EXPECT_EQ(Global("repo1-retention-full=3", "retention_archive"), "3");
  EXPECT_EQ(Global("repo1-retention-full=9999999", "retention_full"), "0");
  EXPECT_EQ(Global("repo1-retention-full=9999999", "retention_archive"), "0");
  EXPECT_EQ(Global("retention-full=2", "retention_full"), "2");
  const std::string by_time = "repo1-retention-full-type=time\nrepo1-retention-full=14";
  EXPECT_EQ(Global(by_time, "retention_full"), "1");
  EXPECT_EQ(Global(by_time, "retention_window"), "14d");
  EXPECT_EQ(Global(by_time, "retention_archive"), "1");
  EXPECT_EQ(LineOf("[global]\n" + by_time + "\n[s]\n", "retention-full=").to_do, "");
  EXPECT_EQ(Global("expire-auto=n\n" + by_time, "retention_full"), "0");
  EXPECT_EQ(Global("expire-auto=n\n" + by_time, "retention_archive"), "0");
  EXPECT_EQ(Global("expire-auto=n\n" + by_time, "retention_window"), "14d");
}

TEST_F(ImportPgBackRestTest, RetentionByTimeOfAnyLength) {
  const auto with = [&](const char* days, const char* setting) {
    return Global(fmt::format("repo1-retention-full-type=time\nrepo1-retention-full={}", days),
                  setting);
  };
  EXPECT_EQ(with("24855", "retention_window"), "24855d");
  EXPECT_EQ(with("24855", "retention_full"), "1");
  EXPECT_EQ(with("24856", "retention_full"), "0");
  EXPECT_EQ(with("24856", "retention_archive"), "0");
  EXPECT_EQ(with("9223372036854775807", "retention_full"), "0");
}

// pgBackRest expires after a backup by what is set for the command "backup".
TEST_F(ImportPgBackRestTest, RetentionIsThatOfBackups) {
  const std::string text =
      "[global]\nrepo1-retention-full=9\n[global:backup]\nrepo1-retention-full=2\n"
      "[global:expire]\nrepo1-retention-full=5\n[s]\n[s:expire]\nrepo1-retention-full=2\n";
  EXPECT_EQ(ValueOf(text, "retention_full"), "2");
  EXPECT_EQ(ValueOf(text, "retention_archive"), "2");
  EXPECT_NE(LineOf(text, "[global:expire] repo1-retention-full=5").to_do, "");
  EXPECT_EQ(LineOf(text, "[s:expire] repo1-retention-full=2").to_do, "");  // the same number
  const std::string only =
      "[s]\npg1-path=/d\n[global:expire]\nrepo1-retention-full=5\nrepo2-retention-full=3\n"
      "process-max=3\n[global]\nrepo1-path=/d\n";
  EXPECT_EQ(ValueOf(only, "retention_full"), "0");
  EXPECT_NE(LineOf(only, "repo1-retention-full=5").to_do, "");
  EXPECT_EQ(LineOf(only, "repo2-retention-full=3").to_do, "");
  EXPECT_EQ(LineOf(only, "process-max=3").to_do, "");
}

TEST_F(ImportPgBackRestTest, WithoutExpireAutoNothingIsRemoved) {
  const std::string lines =
      "expire-auto=n\nrepo1-retention-full=4\nrepo1-retention-diff=7\nrepo1-retention-archive=4";
  for (const char* const setting :
       {"retention_full", "retention_diff", "retention_incr", "retention_archive"}) {
    EXPECT_EQ(Global(lines, setting), "0") << setting;
    EXPECT_EQ(Global("expire-auto=n\nrepo1-retention-full=4", setting), "0") << setting;
  }
  const std::string text = "[global]\n" + lines + "\n[s]\n";
  EXPECT_NE(LineOf(text, "retention-full=4").remark.find("expire-auto is n"), std::string::npos);
  EXPECT_NE(LineOf(text, "expire-auto").to_do, "");
  EXPECT_EQ(Global("expire-auto=y\nrepo1-retention-full=4", "retention_full"), "4");
}

// The file of a database host says little of a repository on another host, and what it says of it
// is not in force.
TEST_F(ImportPgBackRestTest, NothingIsSaidOfARepositoryOnAnotherHost) {
  const std::string text =
      "[global]\nrepo1-host=backup\nrepo1-cipher-type=none\nrepo1-retention-full=2\n"
      "repo1-path=relative\nexpire-auto=n\nlog-level-console=info\n[s]\npg1-path=/d\n";
  const auto conf = Import(text);
  ASSERT_TRUE(conf.has_value()) << conf.error().message;
  const SettingValues values = Read(*conf);
  for (const char* const setting : {"repository", "cipher", "retention_full", "retention_diff",
                                    "retention_incr", "retention_archive", "jobs"}) {
    EXPECT_FALSE(values.contains(setting)) << setting;
  }
  EXPECT_NE(LineOf(text, "repo1-host").to_do.find("import it"), std::string::npos);
  EXPECT_NE(LineOf(text, "repo1-cipher-type").remark.find("repo-host"), std::string::npos);
  EXPECT_EQ(conf->CountToDo(), 2U) << conf->Format("");  // the host and the schedules
  // Only of that repository.
  const auto second =
      Import("[global]\nrepo1-host=backup\nrepo2-path=/p/pgbackrest\n[s]\n", {.repository = 2});
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(Read(*second)["repository"].text, "/p/veza_backup");
  EXPECT_EQ(Read(*second)["cipher"].text, "none");
}

TEST_F(ImportPgBackRestTest, OtherValues) {
  EXPECT_EQ(Global("", "cipher"), "none");
  EXPECT_EQ(Global("", "jobs"), "1");
  EXPECT_EQ(Global("process-max=999", "jobs"), "256");
  EXPECT_EQ(Global("backup-standby=prefer", "backup_from"), "prefer-standby");
  EXPECT_EQ(Global("backup-standby=y", "backup_from"), "standby");
  EXPECT_EQ(Global("archive-timeout=1h", "backup_wal_timeout"), "3600s");
  EXPECT_EQ(Global("archive-timeout=60", "backup_wal_timeout"), "600s");
  EXPECT_EQ(Global("compress-type=zst\ncompress-level=22", "compression_level"), "19");
  EXPECT_EQ(Global("compress-type=zst\ncompress-level=-5", "compression_level"), "-5");
  EXPECT_EQ(Global("compress-type=gz\ncompress-level=9", "compression_level"), "(unset)");
  EXPECT_EQ(Global("compress-type=none", "compression_level"), "-7");
  EXPECT_EQ(Global("compress=n", "compression_level"), "-7");
  EXPECT_EQ(Global("", "schedule_full"), "");
}

TEST_F(ImportPgBackRestTest, TheNarrowestSectionWins) {
  const char* const text =
      "[global]\nprocess-max=1\n[global:backup]\nprocess-max=2\n[s]\nprocess-max=3\n"
      "[s:backup]\nprocess-max=4\n[s:restore]\nprocess-max=5\n";
  EXPECT_EQ(ValueOf(text, "jobs"), "4");
  EXPECT_NE(LineOf(text, "process-max=3").remark.find("line 8"), std::string::npos);
  EXPECT_EQ(ValueOf("[s]\nlog-path=/x\n[global:backup]\nprocess-max=2\n", "jobs"), "2");
  // Something to do is something to do for every command.
  EXPECT_NE(LineOf("[global:archive-push]\narchive-push-queue-max=1GiB\n[s]\n", "max=").to_do, "");
}

TEST_F(ImportPgBackRestTest, Stanzas) {
  const std::string two = "[a]\npg1-path=/a\n[b]\npg1-path=/b\n";
  EXPECT_NE(ErrorOf(two).message.find("several stanzas: a, b"), std::string::npos);
  EXPECT_EQ(ErrorOf(two, {.stanza = "c"}).message, "there is no stanza \"c\"");
  const auto conf = Import(two, {.stanza = "b"});
  ASSERT_TRUE(conf.has_value());
  EXPECT_EQ(Read(*conf)["cluster"].text, "b");
  EXPECT_NE(LineOf("[global]\nlog-path=/x\n", "no stanza").to_do, "");
  EXPECT_EQ(ValueOf("[a b]\npg1-path=/a\n", "cluster"), "(unset)");
}

TEST_F(ImportPgBackRestTest, SeveralRepositories) {
  const std::string text =
      "[global]\nrepo1-path=/one/pgbackrest\nrepo2-path=/two/pgbackrest\nrepo2-bundle=y\n[s]\n";
  EXPECT_EQ(ValueOf(text, "repository"), "/one/veza_backup");
  EXPECT_NE(LineOf(text, "repo2-path").to_do, "");
  EXPECT_EQ(LineOf(text, "repo2-bundle").to_do, "");
  const auto second = Import(text, {.repository = 2});
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(Read(*second)["repository"].text, "/two/veza_backup");
  EXPECT_EQ(ErrorOf(text, {.repository = 3}).message, "the configuration has no repo3");
}

TEST_F(ImportPgBackRestTest, WhatPgBackRestRefusesIsRefusedWithItsLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"a=b\n", "old.conf line 1: it stands before the first section"},
      {"[]\n", "old.conf line 1: the section has no name"},
      {"[global]\n\nabc\n", "old.conf line 3: it has no \"=\""},
      {"[global\na=b\n", "old.conf line 1: it stands before the first section"},
      {"[global]\n=b\n", "old.conf line 2: nothing stands before the \"=\""},
      {"[global]\na=\n", "old.conf line 2: nothing stands after the \"=\""},
      {"[global]\na=\x01\n", "old.conf line 2: it contains a control character"},
      {"[global]\nprocess-max=two\n",
       "old.conf line 2: the value of process-max is not a number of processes"},
      {"[global]\nrepo1-retention-full=-1\n",
       "old.conf line 2: the value of repo1-retention-full is not a number from 1 on"},
      {"[global]\nexpire-auto=yes\n", "old.conf line 2: the value of expire-auto is not y or n"},
      {"[global]\nprocess-max=2\nprocess-max=3\n",
       "process-max is set twice: old.conf line 2 and old.conf line 3"},
      {"[global]\nrepo1-retention-full=2\nretention-full=3\n",
       "retention-full is set twice: old.conf line 2 and old.conf line 3"},
      {"[global]\narchive-timeout=1y\n",
       "old.conf line 2: the value of archive-timeout is not a time"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_EQ(ErrorOf(text).message, message);
  }
}

TEST_F(ImportPgBackRestTest, NothingInTheOldFileCanBecomeASetting) {
  OldSettings settings;
  settings.Add({"environment", "", "repo1-path", "/x\nveza_backup.cluster = 'evil'"});
  settings.Add({"environment", "", "stanza", "s'\nveza_backup.jobs = 3"});
  const auto conf = ImportPgBackRest(settings, {});
  ASSERT_TRUE(conf.has_value());
  const SettingValues values = Read(*conf);
  EXPECT_FALSE(values.contains("cluster"));
  EXPECT_EQ(values.at("jobs").text, "1");
}

TEST_F(ImportPgBackRestTest, SyntaxLikePgBackRests) {
  EXPECT_EQ(ValueOf("\r\n  [global]  \r\n\t process-max = 3 \r\n  # x\r\n[s]\r\n", "jobs"), "3");
  EXPECT_EQ(ValueOf("[global]\nrepo1-path=/a#b/pgbackrest\n[s]", "repository"), "/a#b/veza_backup");
}

TEST_F(ImportPgBackRestTest, FilesBesideAndVariables) {
  const std::string main = directory_.Write("pgbackrest.conf", "[global]\nprocess-max=2\n");
  directory_.Write("conf.d/20.conf", "[s]\npg1-path=/d\n");
  directory_.Write("conf.d/10.conf", "[global]\nrepo1-retention-full=2\n");
  directory_.Write("conf.d/ignored.txt", "nonsense");
  const auto old = ReadPgBackRest(main, {}, {{"PGBACKREST_PROCESS_MAX", "5"}, {"OTHER", "x"}});
  ASSERT_TRUE(old.has_value()) << old.error().message;
  EXPECT_EQ(old->files.size(), 3U);
  const auto conf = ImportPgBackRest(old->settings, {});
  ASSERT_TRUE(conf.has_value()) << conf.error().message;
  const SettingValues values = Read(*conf);
  EXPECT_EQ(values.at("jobs").text, "5");
  EXPECT_EQ(values.at("retention_full").text, "2");
  EXPECT_EQ(values.at("cluster").text, "s");

  EXPECT_EQ(ReadPgBackRest(directory_.path() + "/none", {}, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(
      ReadPgBackRest({}, {}, {{"PGBACKREST_CONFIG", directory_.path() + "/none"}}).error().message,
      "there is no file \"" + directory_.path() + "/none\"");
  EXPECT_FALSE(ReadPgBackRest(main, directory_.path() + "/none", {}).has_value());
  const std::string large = directory_.Write("large", std::string(2U << 20, '#'));
  EXPECT_EQ(ReadPgBackRest(large, {}, {}).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(ImportPgBackRestTest, TheFilesThatVariablesName) {
  const std::string main = directory_.Write("a/pgbackrest.conf", "[global]\nprocess-max=2\n");
  const std::string beside = directory_.Write("a/conf.d/1.conf", "[s]\npg1-path=/d\n");
  const std::string other = directory_.Write("b/2.conf", "[t]\npg1-path=/d\n");
  const std::string a = directory_.path() + "/a";
  const std::string b = directory_.path() + "/b";
  using Names = std::vector<std::string>;
  const auto files = [](const std::optional<std::string>& file,
                        const std::optional<std::string>& directory, const Variables& variables) {
    const auto old = ReadPgBackRest(file, directory, variables);
    return old.has_value() ? old->files : Names{"ERROR " + old.error().message};
  };
  const Variables config = {{"PGBACKREST_CONFIG", main}};
  const Variables include = {{"PGBACKREST_CONFIG", main}, {"PGBACKREST_CONFIG_INCLUDE_PATH", b}};
  EXPECT_EQ(files({}, {}, config), Names{main});
  EXPECT_EQ(files({}, {}, include), (Names{main, other}));
  EXPECT_EQ(files({}, a + "/conf.d", include), (Names{main, beside}));
  EXPECT_EQ(files({}, {}, {{"PGBACKREST_CONFIG_PATH", a}}), (Names{main, beside}));
  EXPECT_EQ(files({}, {}, {{"PGBACKREST_CONFIG", main}, {"PGBACKREST_CONFIG_PATH", a}}),
            (Names{main, beside}));
  EXPECT_EQ(files({}, {}, {{"PGBACKREST_CONFIG", main}, {"PGBACKREST_CONFIG_PATH", b}}),
            Names{main});
  // What was named comes first.
  EXPECT_EQ(files(main, {}, {{"PGBACKREST_CONFIG", other}, {"PGBACKREST_CONFIG_INCLUDE_PATH", b}}),
            (Names{main, beside}));
}

TEST_F(ImportPgBackRestTest, OptionsOfCommandsInTheEnvironmentAreSaid) {
  const std::string main = directory_.Write("p.conf", "[global]\nrepo=2\n[s]\npg1-path=/d\n");
  const auto old = ReadPgBackRest(main, {},
                                  {{"PGBACKREST_CONFIG", "/other"},
                                   {"PGBACKREST_STANZA", "s"},
                                   {"PGBACKREST_REPO", "2"},
                                   {"PGBACKREST_DRY_RUN", "y"}});
  ASSERT_TRUE(old.has_value()) << old.error().message;
  const auto conf = ImportPgBackRest(old->settings, {});
  ASSERT_TRUE(conf.has_value()) << conf.error().message;
  const std::vector<ImportedLine>& lines = conf->lines();  // the first names the cluster
  ASSERT_GE(lines.size(), 6U);
  EXPECT_NE(lines[1].remark.find("passed over"), std::string::npos);
  EXPECT_NE(lines[2].remark.find("name of the cluster"), std::string::npos);
  EXPECT_NE(lines[3].to_do.find("--repo"), std::string::npos);
  EXPECT_NE(lines[4].to_do.find("environment"), std::string::npos);
  EXPECT_EQ(lines[5].to_do, "");
}

}  // namespace
}  // namespace veza
