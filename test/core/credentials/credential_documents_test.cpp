// Tests how the documents are read in which credentials are handed out, whole ones and others.
#include "core/credentials/credential_documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/limits.h"

namespace veza {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kProfiles = R"([default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=defaultsecret

# a comment
; another one
[backup]
aws_access_key_id=ASIABACKUP
aws_secret_access_key = backup/secret+key=
aws_session_token = IQoJb3JpZ2luX2VjE==
region = eu-central-1
nonsense
[role]
role_arn = arn:aws:iam::1:role/x
source_profile = default
[half]
aws_access_key_id = AKIAHALF
)";

TEST(CredentialDocuments, AProfile) {
  const S3Credentials first = ParseProfile(kProfiles, "default").value();
  EXPECT_EQ(first.keys.access_key, "AKIADEFAULT");
  EXPECT_EQ(first.keys.secret_key, "defaultsecret");
  EXPECT_EQ(first.session_token, "");
  EXPECT_FALSE(first.expires);
  const S3Credentials backup = ParseProfile(kProfiles, "backup").value();
  EXPECT_EQ(backup.keys.access_key, "ASIABACKUP");
  EXPECT_EQ(backup.keys.secret_key, "backup/secret+key=");
  EXPECT_EQ(backup.session_token, "IQoJb3JpZ2luX2VjE==");
}

TEST(CredentialDocuments, AFileWithLineEndsOfWindows) {
  const S3Credentials read =
      ParseProfile("[a]\r\naws_access_key_id = AKIA\r\naws_secret_access_key = s\r\n", "a").value();
  EXPECT_EQ(read.keys.secret_key, "s");
}

TEST(CredentialDocuments, AProfileThatIsOfNoUse) {
  const Error absent = ParseProfile(kProfiles, "other").error();
  EXPECT_EQ(absent.code, ErrorCode::kCredentials);
  EXPECT_THAT(absent.message, HasSubstr("no profile \"other\""));
  EXPECT_THAT(absent.hint, HasSubstr("s3_profile"));
  EXPECT_EQ(ParseProfile(kProfiles, "role").error().message, "profile \"role\" sets role_arn");
  EXPECT_THAT(ParseProfile("[a]\nregion = x\n", "a").error().message, HasSubstr("holds no keys"));
  EXPECT_THAT(ParseProfile(kProfiles, "half").error().message, HasSubstr("no secret access key"));
  for (const char* text :
       {"", "\n", "[", "[default", "]", "=", "[default]\n=", "aws_access_key_id"}) {
    EXPECT_EQ(ParseProfile(text, "default").error().code, ErrorCode::kCredentials) << text;
  }
}

// The keys beside are those that the other way begins with, or left over from before.
TEST(CredentialDocuments, AProfileWithKeysAndAnotherWay) {
  const std::string keys = "[a]\naws_access_key_id=AKIA\naws_secret_access_key=secret7\n";
  for (const char* line : {"role_arn=x", "source_profile=x", "credential_source = Environment",
                           "credential_process = /bin/x", "sso_session=x", "sso_account_id=1",
                           "web_identity_token_file=/x"}) {
    const auto refused = ParseProfile(keys + line + "\n", "a");
    ASSERT_FALSE(refused) << line;
    EXPECT_EQ(refused.error().code, ErrorCode::kCredentials);
    EXPECT_THAT(refused.error().message, HasSubstr("profile \"a\" sets "));
    EXPECT_THAT(refused.error().hint, HasSubstr("temporary keys"));
    EXPECT_TRUE(ParseProfile(keys + "[b]\n" + line + "\n", "a")) << "of another profile";
  }
}

// What goes into a header of a request must not end it.
TEST(CredentialDocuments, NoControlCharacterGetsIntoARequest) {
  const auto with = [](std::string token) {
    return ParseProfile(
        "[a]\naws_access_key_id=AKIA\naws_secret_access_key=secretsecret\n"
        "aws_session_token=" +
            token + "\n",
        "a");
  };
  EXPECT_TRUE(with("ok"));
  for (const std::string& bad : {"a b", "a\tb", "a\rb", "\x7f", "\xc3\xa9", "a\x01"}) {
    const auto refused = with(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("control character"));
    EXPECT_THAT(refused.error().message, Not(HasSubstr("secretsecret")));
  }
  EXPECT_FALSE(with(std::string(20'000, 'x')));
}

constexpr const char* kJson = R"({"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIA7",
 "SecretAccessKey": "s7", "Token": "t7", "Expiration": "2026-11-30T21:00:00Z"})";

TEST(CredentialDocuments, TheMetadataService) {
  const S3Credentials read = ParseCredentialJson(kJson).value();
  EXPECT_EQ(read.keys.access_key, "ASIA7");
  EXPECT_EQ(read.keys.secret_key, "s7");
  EXPECT_EQ(read.session_token, "t7");
  EXPECT_EQ(FormatUtc(read.expires.value()), "2026-11-30T21:00:00Z");
}

TEST(CredentialDocuments, AMetadataServiceWithoutCredentials) {
  const Error failed =
      ParseCredentialJson(R"({"Code": "AssumeRoleUnauthorizedAccess", "Message": "x"})").error();
  EXPECT_EQ(failed.code, ErrorCode::kCredentials);
  EXPECT_THAT(failed.message, HasSubstr("AssumeRoleUnauthorizedAccess"));
  for (const char* text :
       {"", "[]", "null", "<html>", "{}", R"({"AccessKeyId": 7})",
        R"({"AccessKeyId": "a", "SecretAccessKey": "secret7", "Token": "t"})",
        R"({"AccessKeyId": "a", "SecretAccessKey": "secret7", "Expiration": "soon"})"}) {
    const auto read = ParseCredentialJson(text);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, ErrorCode::kCredentials) << text;
    EXPECT_THAT(read.error().message, Not(HasSubstr("secret7")));
  }
  EXPECT_FALSE(ParseCredentialJson(std::string(limits::kCredentialAnswer + 1, ' ') + kJson));
}

constexpr const char* kSts =
    R"(<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA7</AccessKeyId>
<SecretAccessKey>s7</SecretAccessKey><SessionToken>t7</SessionToken>
<Expiration>2026-11-30T21:00:00.25Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>)";

TEST(CredentialDocuments, Sts) {
  const S3Credentials read = ParseStsCredentials(kSts).value();
  EXPECT_EQ(read.keys.access_key, "ASIA7");
  EXPECT_EQ(read.keys.secret_key, "s7");
  EXPECT_EQ(read.session_token, "t7");
  EXPECT_EQ(FormatUtc(read.expires.value()), "2026-11-30T21:00:00.250000Z");
  for (const char* text : {"", "x", "<a/>", "<AssumeRoleWithWebIdentityResponse/>"}) {
    EXPECT_EQ(ParseStsCredentials(text).error().code, ErrorCode::kCredentials) << text;
  }
}

TEST(CredentialDocuments, TheCodeOfAnErrorIsPlain) {
  EXPECT_EQ(ErrorCodeIn("<ErrorResponse><Error><Code>InvalidIdentityToken</Code>"
                        "<Message>eyJhbGciOi</Message></Error></ErrorResponse>"),
            "InvalidIdentityToken");
  EXPECT_EQ(ErrorCodeIn("<Error><Code>AccessDenied</Code></Error>"), "AccessDenied");
  EXPECT_EQ(ErrorCodeIn(R"({"code": "ThrottlingException", "message": "x"})"),
            "ThrottlingException");
  EXPECT_EQ(ErrorCodeIn(R"({"Code": "two words"})"), "");
  EXPECT_EQ(ErrorCodeIn("<Error><Code>" + std::string(100, 'x') + "</Code></Error>"), "");
  EXPECT_EQ(ErrorCodeIn("Not found"), "");
}

}  // namespace
}  // namespace veza
