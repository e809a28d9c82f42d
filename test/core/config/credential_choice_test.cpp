// Tests where the credentials come from, by settings and environment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/config.h"
#include "core/config/temporary_directory.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

using Pairs = std::map<std::string, std::string>;

Result<Config> Build(const Pairs& settings, const Pairs& variables = {}) {
  SettingValues values;
  values["repository"] = {"s3://bucket/pg"};
  values["cipher"] = {"none"};
  for (const auto& [name, text] : settings) {
    values[name] = {text};
  }
  return BuildConfig(values, [&](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

// What the chosen provider says of itself, or the error.
std::string Chosen(const Pairs& settings, const Pairs& variables = {}) {
  const Result<Config> config = Build(settings, variables);
  return config ? config->s3.credentials->description() : "error: " + config.error().message;
}

class CredentialChoice : public testing::Test {
 protected:
  const TemporaryDirectory directory_;
  const std::string profile_ = directory_.Write(
      "credentials", "[default]\naws_access_key_id=AKIA1\naws_secret_access_key=k7Jd0\n");
  const std::string token_ = directory_.Write("token", "eyJhbGciOi", 0644);
  const Pairs keys_ = {{"s3_access_key", "AKIA7"}, {"s3_secret_key", "k7Jd0"}};
  const Pairs of_environment_ = {{"AWS_ACCESS_KEY_ID", "AKIAENV"},
                                 {"AWS_SECRET_ACCESS_KEY", "k7Jd0"}};
  const Pairs web_identity_ = {{"AWS_WEB_IDENTITY_TOKEN_FILE", token_},
                               {"AWS_ROLE_ARN", "arn:aws:iam::1:role/backup"}};
  const Pairs container_ = {{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1"}};

  static Pairs With(Pairs some, const Pairs& more) {
    some.insert(more.begin(), more.end());
    return some;
  }
};

// What files of 0.1 and 0.2 say.
TEST_F(CredentialChoice, TheDefaultIsWhatItWas) {
  EXPECT_EQ(Chosen(keys_), "static: the settings");
  EXPECT_EQ(Chosen({}, of_environment_), "static: the environment");
  EXPECT_EQ(Chosen({}, With(web_identity_, container_)),
            "error: no access key for S3 is configured");
}

TEST_F(CredentialChoice, StaticKeysInFilesAreReadAgain) {
  const Config config = Build({{"s3_access_key_file", directory_.Write("id", "AKIA1")},
                               {"s3_secret_key_file", directory_.Write("secret", "k7Jd0")},
                               {"s3_session_token_file", directory_.Write("session", "t7Jd0")}})
                            .value();
  EXPECT_EQ(config.s3.credentials->description(), "static: the files of the settings");
  EXPECT_EQ(config.s3.session_token, "t7Jd0") << "for the search for secrets in the data directory";
  directory_.Write("session", "another-token");
  const S3CredentialsPtr read = config.s3.credentials->Get(veza::Environment{}).value();
  EXPECT_EQ(read->keys.access_key, "AKIA1");
  EXPECT_EQ(read->session_token, "another-token");
}

// A job keeps the access key that was in force when it began. It must not sign with the secret of
// the next one.
TEST_F(CredentialChoice, PartsOfTwoKeysAreNotCombined) {
  const Pairs in_files = {{"s3_access_key_file", directory_.Write("id", "AKIA1")},
                          {"s3_secret_key_file", directory_.Write("secret", "k7Jd0")},
                          {"s3_session_token_file", directory_.Write("session", "t7Jd0")}};
  for (const std::string by_value : {"s3_access_key", "s3_secret_key", "s3_session_token"}) {
    directory_.Write("id", "AKIA1");
    directory_.Write("secret", "k7Jd0");
    directory_.Write("session", "t7Jd0");
    Pairs settings = in_files;
    settings.erase(by_value + "_file");
    settings[by_value] = "AKIA1";
    const Config config = Build(settings).value();
    EXPECT_EQ(config.s3.credentials->description(), "static: the settings");
    const S3CredentialsPtr before = config.s3.credentials->Get(veza::Environment{}).value();
    for (const char* file : {"id", "secret", "session"}) {
      directory_.Write(file, "of-the-next-key");
    }
    const S3CredentialsPtr after = config.s3.credentials->Get(veza::Environment{}).value();
    EXPECT_TRUE(SameKeys(*before, *after)) << by_value;
  }
}

TEST_F(CredentialChoice, TheEnvironmentIsNamedWhenItHasSaidAPart) {
  EXPECT_EQ(Chosen({{"s3_access_key", "AKIA7"}}, {{"AWS_SECRET_ACCESS_KEY", "k7Jd0"}}),
            "static: the settings and the environment");
}

TEST_F(CredentialChoice, AProviderByName) {
  EXPECT_EQ(Chosen({{"s3_credentials", "Profile"}, {"s3_credentials_file", profile_}}),
            fmt::format("profile \"default\" in file \"{}\"", profile_));
  EXPECT_EQ(Chosen({{"s3_credentials", "profile"}},
                   {{"AWS_SHARED_CREDENTIALS_FILE", profile_}, {"AWS_PROFILE", "backup"}}),
            fmt::format("profile \"backup\" in file \"{}\"", profile_));
  EXPECT_EQ(Chosen({{"s3_credentials", "profile"}}, {{"HOME", "/home/x"}}),
            "profile \"default\" in file \"/home/x/.aws/credentials\"");
  EXPECT_EQ(Chosen({{"s3_credentials", "web-identity"}, {"s3_region", "eu-west-1"}}, web_identity_),
            "web-identity: role \"arn:aws:iam::1:role/backup\" from "
            "\"https://sts.eu-west-1.amazonaws.com\"");
  EXPECT_EQ(Chosen({{"s3_credentials", "web-identity"},
                    {"s3_sts_endpoint", "https://minio.example.com:9000"},
                    {"s3_web_identity_token_file", token_}}),
            "web-identity: role \"\" from \"https://minio.example.com:9000\"");
  EXPECT_EQ(Chosen({{"s3_credentials", "container"}}, container_),
            "container: \"http://169.254.170.2\"");
  EXPECT_EQ(Chosen({{"s3_credentials", "instance"}}), "instance: \"http://169.254.169.254\"");
}

// The environment's keys are not looked at, even if they are wrong.
TEST_F(CredentialChoice, AnotherProviderDoesNotLookAtTheEnvironmentsKeys) {
  EXPECT_EQ(Chosen({{"s3_credentials", "instance"}}, {{"AWS_ACCESS_KEY_ID", "a\nb"}}),
            "instance: \"http://169.254.169.254\"");
}

TEST_F(CredentialChoice, AutoTakesTheFirstOfWhichSomethingIsSaid) {
  const Pairs with_auto = {{"s3_credentials", "auto"}};
  const Pairs all = With(With(of_environment_, web_identity_), container_);
  EXPECT_EQ(Chosen(With(with_auto, keys_), all), "static: the settings");
  EXPECT_EQ(
      Chosen(With(with_auto, {{"s3_profile", "backup"}, {"s3_credentials_file", profile_}}), all),
      fmt::format("profile \"backup\" in file \"{}\"", profile_));
  EXPECT_EQ(Chosen(with_auto, all), "static: the environment");
  EXPECT_THAT(Chosen(with_auto, With(web_identity_, container_)), StartsWith("web-identity: "));
  EXPECT_THAT(Chosen(with_auto, With(container_, {{"AWS_PROFILE", "x"}, {"HOME", "/home/x"}})),
              StartsWith("profile \"x\""));
  EXPECT_THAT(Chosen(with_auto, With(container_, {{"HOME", "/nonexistent"}})),
              StartsWith("container: "));
  EXPECT_THAT(Chosen(with_auto), StartsWith("instance: "));
  directory_.Write(".aws/credentials", "[default]\n");
  EXPECT_THAT(Chosen(with_auto, With(container_, {{"HOME", directory_.path()}})),
              StartsWith("profile \"default\""));
}

TEST_F(CredentialChoice, SettingsOfTwoProvidersAreRefused) {
  EXPECT_EQ(Chosen(With(keys_, {{"s3_profile", "backup"}})),
            "error: \"veza_backup.s3_profile\" is set, but \"veza_backup.s3_credentials\" is "
            "\"static\"");
  EXPECT_EQ(Chosen(With(keys_, {{"s3_credentials", "instance"}})),
            "error: \"veza_backup.s3_access_key\" is set, but \"veza_backup.s3_credentials\" is "
            "\"instance\"");
  EXPECT_EQ(Chosen(With(keys_, {{"s3_credentials", "auto"}, {"s3_profile", "backup"}})),
            "error: \"veza_backup.s3_access_key\" and \"veza_backup.s3_profile\" are of two "
            "providers");
  EXPECT_EQ(Chosen(With(keys_, {{"s3_access_key_file", directory_.Write("id", "AKIA1")}})),
            "error: \"veza_backup.s3_access_key\" and \"veza_backup.s3_access_key_file\" are both "
            "set");
}

TEST_F(CredentialChoice, WhatIsMissingIsSaid) {
  EXPECT_THAT(Chosen({{"s3_credentials", "profile"}}), HasSubstr("no credentials file"));
  EXPECT_THAT(Chosen({{"s3_credentials", "web-identity"}}),
              HasSubstr("no file with a web identity"));
  EXPECT_THAT(Chosen({{"s3_credentials", "web-identity"}, {"s3_web_identity_token_file", token_}}),
              HasSubstr("no role"));
  EXPECT_THAT(Chosen({{"s3_credentials", "container"}}), HasSubstr("no credentials service"));
  EXPECT_THAT(Chosen({{"s3_credentials", "instance"}}, {{"AWS_EC2_METADATA_DISABLED", "true"}}),
              HasSubstr("AWS_EC2_METADATA_DISABLED"));
  EXPECT_THAT(Chosen({{"s3_credentials", "magic"}}), HasSubstr("not one of its values"));
}

// A token of another store's account is no business of AWS.
TEST_F(CredentialChoice, ATokenForAnotherStoreIsNotSentToAws) {
  const Pairs web_identity = With(web_identity_, {{"AWS_ENDPOINT_URL_STS", ""}});
  const auto chosen = [&](const char* endpoint) {
    return Chosen({{"s3_credentials", "web-identity"}, {"s3_endpoint", endpoint}}, web_identity);
  };
  EXPECT_THAT(chosen("https://minio.example.com"), HasSubstr("not said who gives credentials"));
  EXPECT_THAT(chosen("https://amazonaws.com.example.com"), HasSubstr("not said who gives"));
  EXPECT_THAT(chosen("https://s3.eu-west-1.amazonaws.com"), HasSubstr("amazonaws.com\""));
  EXPECT_THAT(chosen("https://s3.cn-north-1.amazonaws.com.cn"), HasSubstr("amazonaws.com\""));
}

TEST_F(CredentialChoice, AnAddressFromTheEnvironmentMayNotLeadAnywhere) {
  for (const char* url : {"http://example.com/x", "http://user:k7Jd0@127.0.0.1/"}) {
    const std::string chosen =
        Chosen({{"s3_credentials", "container"}}, {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", url}});
    EXPECT_THAT(chosen, AllOf(HasSubstr("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
                              testing::Not(HasSubstr("k7Jd0"))));
  }
  EXPECT_THAT(Chosen({{"s3_credentials", "container"}},
                     {{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "@example.com/"}}),
              HasSubstr("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
  EXPECT_THAT(Chosen({{"s3_credentials", "instance"}},
                     {{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://example.com"}}),
              HasSubstr("AWS_EC2_METADATA_SERVICE_ENDPOINT"));
  EXPECT_THAT(Chosen({{"s3_credentials", "web-identity"}},
                     With(web_identity_, {{"AWS_ENDPOINT_URL_STS", "http://example.com"}})),
              HasSubstr("in clear"));
}

// A token that is away says nothing about an object.
TEST_F(CredentialChoice, AFileThatIsAwayIsAnErrorOfCredentials) {
  for (const Pairs& settings :
       {Pairs{{"s3_access_key", "AKIA7"}, {"s3_secret_key_file", "/nonexistent"}},
        Pairs{{"s3_access_key", "AKIA7"},
              {"s3_secret_key", "k"},
              {"s3_session_token_file", "/nonexistent"}},
        Pairs{{"s3_credentials", "profile"}, {"s3_credentials_file", "/nonexistent"}},
        Pairs{{"s3_credentials", "web-identity"},
              {"s3_role_arn", "arn:aws:iam::1:role/backup"},
              {"s3_web_identity_token_file", "/nonexistent"}}}) {
    const Result<Config> config = Build(settings);
    // Files that another program writes need not be there yet.
    const Error error =
        config ? config->s3.credentials->Get(veza::Environment{}).error() : config.error();
    EXPECT_EQ(error.code, ErrorCode::kCredentials) << error.message;
    EXPECT_EQ(config.has_value(), settings.contains("s3_credentials"));
  }
}

// A reload must not ask for credentials again.
TEST_F(CredentialChoice, TheSameSettingsHaveTheSameProvider) {
  const Pairs settings = {{"s3_credentials", "instance"}};
  const auto first = Build(settings).value().s3.credentials;
  EXPECT_EQ(Build(With(settings, {{"jobs", "3"}})).value().s3.credentials, first);
  EXPECT_NE(Build({{"s3_credentials", "container"}}, container_).value().s3.credentials, first);
  // The proxy's new password must reach STS.
  const auto behind_proxy = [&](const char* login) {
    return Build({{"s3_credentials", "web-identity"},
                  {"s3_proxy", "http://proxy.example.com:3128"},
                  {"s3_proxy_login_file", directory_.Write("login", login)}},
                 web_identity_)
        .value()
        .s3.credentials;
  };
  const auto old = behind_proxy("backup:old");
  EXPECT_EQ(behind_proxy("backup:old"), old);
  EXPECT_NE(behind_proxy("backup:new"), old);
}

}  // namespace
}  // namespace veza
