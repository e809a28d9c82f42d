#include "core/config/settings.h"

#include <gtest/gtest.h>

#include <set>

#include "core/config/temporary_directory.h"

namespace veza {
namespace {

const SettingSpec& Spec(std::string_view name) {
  const SettingSpec* spec = FindSetting(name);
  EXPECT_NE(spec, nullptr) << name;
  return *spec;
}

bool Accepts(std::string_view name, std::string_view value) {
  return ValidateSetting(Spec(name), value).has_value();
}

// Returns the error of a refusal, after checking what every refusal promises.
Error Refusal(std::string_view name, std::string_view value) {
  const auto status = ValidateSetting(Spec(name), value);
  if (status.has_value()) {
    ADD_FAILURE() << name << " accepted " << value;
    return {};
  }
  const Error& error = status.error();
  if (Spec(name).secret && !value.empty()) {
    // Searches after the name of the setting, which may contain the same word.
    const std::size_t reason = error.message.find("\": ");
    EXPECT_EQ(error.message.find(value, reason), std::string::npos) << error.message;
    EXPECT_EQ(error.hint.find(value), std::string::npos) << error.hint;
  }
  return error;
}

void ExpectRefusal(std::string_view name, std::string_view value) {
  EXPECT_EQ(Refusal(name, value).code, ErrorCode::kInvalidArgument) << name << ": " << value;
}

TEST(Settings, TheTableIsSound) {
  std::set<std::string> names;
  for (const SettingSpec& spec : AllSettings()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_TRUE(ValidateSetting(spec, spec.default_value).has_value()) << spec.name;
    EXPECT_TRUE(std::string(spec.description).ends_with('.')) << spec.name;
    EXPECT_EQ(spec.type == SettingType::kEnum, !spec.choices.empty()) << spec.name;
  }
  EXPECT_EQ(FindSetting("S3_Region"), FindSetting("s3_region"));
  EXPECT_EQ(FindSetting("schedule"), nullptr);
}

TEST(Settings, RefusalsNameTheSetting) {
  const Error error = Refusal("repository", "gs://bucket");
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error.message, "invalid value for \"veza_backup.repository\": unknown scheme \"gs\"");
  EXPECT_FALSE(error.hint.empty());
}

TEST(Settings, PlaceholdersAreRefusedEverywhere) {
  for (const SettingSpec& spec : AllSettings()) {
    if (spec.type == SettingType::kString) {
      for (const char* value : {"<fill in>", "CHANGEME", "REPLACE_ME", "YOUR_VALUE", "xxxx"}) {
        ExpectRefusal(spec.name, value);
      }
    }
  }
  for (const char* name : {"s3_secret_key", "s3_session_token", "cipher_passphrase"}) {
    for (const char* value : {"secret", "passphrase", "password", "my-secret-passphrase"}) {
      ExpectRefusal(name, value);
    }
  }
  EXPECT_TRUE(Accepts("cluster", "secret")) << "a word of secrets is a fine name";
}

TEST(Settings, ControlCharactersAreRefused) {
  ExpectRefusal("s3_access_key", "AKIA\r\nHost: evil");
  ExpectRefusal("cluster", "a\tb");
  ExpectRefusal("repository", std::string_view("/srv\0x", 6));
}

TEST(Settings, Cluster) {
  for (const char* value : {"main", "a.b_c-D9", "-x"}) {
    EXPECT_TRUE(Accepts("cluster", value)) << value;
  }
  for (const char* value : {"", ".", "..", ".hidden", "a/b", "a b", "\xc3\xa4"}) {
    ExpectRefusal("cluster", value);
  }
  ExpectRefusal("cluster", std::string(129, 'a'));
}

TEST(Settings, WhatS3DoesWithObjects) {
  EXPECT_TRUE(Accepts("s3_storage_class", "GLACIER_IR"));
  ExpectRefusal("s3_storage_class", "DEEP_ARCHIVE");
  EXPECT_TRUE(Accepts("s3_tags", "project=shop, owner=dba"));
  ExpectRefusal("s3_tags", "project");
  EXPECT_TRUE(Accepts("s3_sse", "AES256"));
  ExpectRefusal("s3_sse", "rot13");
  ExpectRefusal("s3_checksum", "crc32");
  EXPECT_TRUE(Accepts("s3_sse_kms_key_id", "arn:aws:kms:eu-west-1:111122223333:key/1234abcd"));
  ExpectRefusal("s3_sse_kms_key_id", "two words");
  const TemporaryDirectory directory;
  const std::string hex = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
  EXPECT_TRUE(Accepts("s3_sse_customer_key_file", directory.Write("key", hex)));
  const Error error = Refusal("s3_sse_customer_key_file", directory.Write("short", hex.substr(2)));
  EXPECT_EQ(error.message.find("abcdef"), std::string::npos);
}

TEST(Settings, Proxy) {
  EXPECT_TRUE(Accepts("s3_proxy", "http://proxy.example.com:3128"));
  EXPECT_TRUE(Accepts("s3_proxy", "http://[::1]:3128"));
  ExpectRefusal("s3_proxy", "proxy.example.com:3128");
  ExpectRefusal("s3_proxy", "https://proxy.example.com:3128");
  ExpectRefusal("s3_proxy", "http://proxy.example.com");
  ExpectRefusal("s3_proxy", "http://[::1]");
  ExpectRefusal("s3_proxy", "http://proxy:3128/path");
  const Error error = Refusal("s3_proxy", "http://backup:hunter2@proxy:3128");
  EXPECT_EQ(error.message.find("hunter2"), std::string::npos);
  EXPECT_NE(error.hint.find("s3_proxy_login_file"), std::string::npos);
  const TemporaryDirectory directory;
  EXPECT_TRUE(Accepts("s3_proxy_login_file", directory.Write("login", "user:password")));
  const std::string wrong = directory.Write("wrong", "hunter2");
  EXPECT_EQ(Refusal("s3_proxy_login_file", wrong).message.find("hunter2"), std::string::npos);
  ExpectRefusal("s3_proxy_login_file", directory.Write("nobody", ":password"));
}

TEST(Settings, Passphrase) {
  EXPECT_TRUE(Accepts("cipher_passphrase", ""));
  EXPECT_TRUE(Accepts("cipher_passphrase", "0123456789abcdef"));
  ExpectRefusal("cipher_passphrase", "0123456789abcde");
  ExpectRefusal("cipher_passphrase",
                "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f");
}

TEST(Settings, SecretFilesAreReadWhenTheyAreSet) {
  const TemporaryDirectory directory;
  const std::string good = directory.Write("good", "0123456789abcdef\n");
  EXPECT_TRUE(Accepts("cipher_passphrase_file", good));
  EXPECT_TRUE(Accepts("s3_secret_key_file", directory.Write("key", "k7\n")));
  EXPECT_TRUE(Accepts("cipher_passphrase_file", ""));

  EXPECT_EQ(Refusal("cipher_passphrase_file", directory.path() + "/absent").code,
            ErrorCode::kNotFound);
  EXPECT_EQ(
      Refusal("cipher_passphrase_file", directory.Write("open", "0123456789abcdef", 0644)).code,
      ErrorCode::kPermissionDenied);
  // Its writer may be at work: wal-get tries again.
  EXPECT_EQ(Refusal("s3_secret_key_file", directory.Write("empty", "")).code,
            ErrorCode::kCredentials);
  const Error placeholder =
      Refusal("s3_secret_key_file", directory.Write("placeholder", "hunter2-CHANGEME\n"));
  EXPECT_EQ(placeholder.message.find("hunter2"), std::string::npos) << placeholder.message;
  const Error too_short = Refusal("cipher_passphrase_file", directory.Write("short", "hunter2\n"));
  EXPECT_EQ(too_short.message.find("hunter2"), std::string::npos) << too_short.message;
  ExpectRefusal("s3_secret_key_file", "relative/file");
}

TEST(Settings, CaFile) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(Accepts("s3_ca_file", directory.Write("ca.pem", "x", 0644)));
  EXPECT_EQ(Refusal("s3_ca_file", directory.path() + "/absent").code, ErrorCode::kNotFound);
  ExpectRefusal("s3_ca_file", directory.path());
  ExpectRefusal("s3_ca_file", "ca.pem");
}

TEST(Settings, Booleans) {
  for (const char* value : {"on", "ON", "t", "tr", "true", "y", "yes", "1"}) {
    EXPECT_EQ(ParseBoolean(value), true) << value;
  }
  for (const char* value : {"off", "of", "f", "false", "n", "no", "0"}) {
    EXPECT_EQ(ParseBoolean(value), false) << value;
  }
  for (const char* value : {"", "o", "onn", "truee", "2", " on", "-1"}) {
    EXPECT_EQ(ParseBoolean(value), std::nullopt) << value;
    ExpectRefusal("s3_verify_tls", value);
  }
}

TEST(Settings, Integers) {
  const SettingSpec& timeout = Spec("backup_wal_timeout");
  EXPECT_EQ(ParseInteger(timeout, "90").value(), 90);
  EXPECT_EQ(ParseInteger(timeout, " 90 s ").value(), 90);
  EXPECT_EQ(ParseInteger(timeout, "1.5min").value(), 90);
  EXPECT_EQ(ParseInteger(timeout, "2h").value(), 7200);
  EXPECT_EQ(ParseInteger(timeout, "1d").value(), 86400);
  EXPECT_EQ(ParseInteger(timeout, "1600ms").value(), 2);
  EXPECT_EQ(ParseInteger(timeout, "0x10").value(), 16);
  EXPECT_EQ(ParseInteger(timeout, "010").value(), 8);
  EXPECT_EQ(ParseInteger(timeout, "1e2").value(), 100);
  for (const char* value :
       {"", "x", "10 S", "10kB", "10 min x", "0", "-1", "99999999999", "nan", "100ms", "1e99999"}) {
    ExpectRefusal("backup_wal_timeout", value);
  }
  EXPECT_EQ(ParseInteger(Spec("compression_level"), "-7").value(), -7);
  ExpectRefusal("compression_level", "-8");
  ExpectRefusal("compression_level", "20");
  ExpectRefusal("compression_level", "3s");
  ExpectRefusal("s3_connections", "0");
  ExpectRefusal("jobs", "257");
  ExpectRefusal("retention_full", "-1");
  ExpectRefusal("retention_diff", "10001");
  ExpectRefusal("retention_archive", "a week");
  EXPECT_EQ(ParseInteger(Spec("retention_window"), "14d").value(), 14 * 86'400);
  ExpectRefusal("retention_window", "-1d");
  ExpectRefusal("retention_keep", "7 hourly");
}

TEST(Settings, Choices) {
  EXPECT_TRUE(Accepts("cipher", "AES-256-GCM"));
  EXPECT_TRUE(Accepts("cipher", ""));
  const Error error = Refusal("cipher", "aes-128-gcm");
  EXPECT_NE(error.hint.find("\"aes-256-cbc\""), std::string::npos) << error.hint;
  ExpectRefusal("s3_uri_style", "");
  EXPECT_TRUE(Accepts("backup_from", "Prefer-Standby"));
  ExpectRefusal("backup_from", "replica");
}

TEST(Settings, Schedules) {
  for (const char* value : {"", "0 2 * * 0", "*/15 * * * *", "@weekly"}) {
    EXPECT_TRUE(Accepts("schedule_full", value)) << value;
    EXPECT_TRUE(Accepts("schedule_diff", value)) << value;
  }
  const Error error = Refusal("schedule_full", "0 2 * * 8");
  EXPECT_EQ(error.message,
            "invalid value for \"veza_backup.schedule_full\": invalid day of week \"8\" at "
            "position 9");
  EXPECT_FALSE(error.hint.empty());
  ExpectRefusal("schedule_diff", "0 2 30 2 *");
  ExpectRefusal("schedule_diff", " ");

  EXPECT_TRUE(Accepts("schedule_timezone", "Europe/Berlin"));
  EXPECT_EQ(Refusal("schedule_timezone", "Europe/Atlantis").message,
            "invalid value for \"veza_backup.schedule_timezone\": there is no time zone "
            "\"Europe/Atlantis\"");
  ExpectRefusal("schedule_timezone", "");
  EXPECT_EQ(ParseInteger(Spec("schedule_jitter"), "5min").value(), 300);
  ExpectRefusal("schedule_jitter", "-1");
  ExpectRefusal("schedule_jitter", "86401");
}

}  // namespace
}  // namespace veza
