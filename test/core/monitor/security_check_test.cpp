#include "core/monitor/security_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/config/temporary_directory.h"
#include "core/monitor/freed_space.h"

namespace veza {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SecurityCheckTest : public testing::Test {
 protected:
  SecurityCheckTest() {
    config_.kind = RepositoryKind::kS3;
    config_.cipher = Cipher::kAes256Gcm;
    config_.s3.endpoint = "https://s3.example.com";
    config_.s3.prefix = "production/main";
    bucket_.versioning = Versioning::kEnabled;
    bucket_.rules = {{.id = "old versions", .expires_noncurrent = true}};
  }

  CheckResult Row() const { return JudgeSecurity(config_, bucket_); }
  void ExpectWarning(const char* detail, const char* hint) const {
    const CheckResult row = Row();
    EXPECT_TRUE(row.passed) << row.detail;
    EXPECT_THAT(row.detail, HasSubstr(detail));
    EXPECT_THAT(row.hint, HasSubstr(hint));
  }
  void ExpectFailure(const char* detail, const char* hint) const {
    const CheckResult row = Row();
    EXPECT_FALSE(row.passed) << row.detail;
    EXPECT_EQ(row.detail.find(detail), 0U) << row.detail;
    EXPECT_THAT(row.hint, HasSubstr(hint));
  }
  void ExpectNoAdvice(const char* detail) const {
    const CheckResult row = Row();
    EXPECT_TRUE(row.passed);
    EXPECT_THAT(row.hint, IsEmpty());
    EXPECT_THAT(row.detail, HasSubstr(detail));
  }

  TemporaryDirectory directory_;
  Config config_;
  BucketRules bucket_;
};

TEST_F(SecurityCheckTest, ReportsWhatIsInOrder) {
  ExpectNoAdvice(
      "encrypted with aes-256-gcm; TLS with a verified certificate; the bucket keeps old versions");
}

TEST_F(SecurityCheckTest, WarnsOfWhatMayBeAChoice) {
  config_.s3.endpoint = "http://s3.example.com:9000";
  ExpectWarning("no TLS", "https://");
  for (const char* loopback : {"http://127.0.0.1:9000", "http://localhost:9000", "http://localhost",
                               "http://[::1]:9000", "http://[::1]", "http://127.1.2.3/"}) {
    config_.s3.endpoint = loopback;
    ExpectNoAdvice("no TLS, but the store is on this machine");
  }
  for (const char* elsewhere :
       {"http://localhost.example.com", "http://127.evil.example", "http://127.0.0.1.evil.example",
        "http://127.1@evil.example", "http://127.0.0.1@evil.example", "http://[::1].evil.example",
        "http://localhost@evil.example", "http://localhost:x@evil.example"}) {
    config_.s3.endpoint = elsewhere;
    ExpectWarning("no TLS", "https://");
  }
  config_.s3.endpoint = "https://s3.example.com";
  config_.s3.verify_tls = false;
  ExpectWarning("certificate of the store is not verified", "veza_backup.s3_verify_tls = on");
  config_.cipher = Cipher::kNone;
  ExpectWarning("nothing is encrypted", "veza_backup.cipher_passphrase_file");
}

TEST_F(SecurityCheckTest, ASecretThatOthersCanReadFails) {
  const std::string file = directory_.Write("postgresql.conf", "…", 0644);
  config_.inline_secrets.push_back({"s3_secret_key", file, SecretString("k7Jd0")});
  ExpectFailure("other accounts can read file", "chmod 0600");
  EXPECT_THAT(Row().detail, HasSubstr("\"veza_backup.s3_secret_key\""));
  EXPECT_THAT(Row().detail, Not(HasSubstr("k7Jd0")));
  if (geteuid() == 0) {
    ASSERT_EQ(chown(file.c_str(), 0, 54321), 0);
    chmod(file.c_str(), 0640);
    ExpectFailure("the group \"54321\" can read file", "chmod 0600");
  }
  chmod(file.c_str(), 0600);
  ExpectNoAdvice("\"veza_backup.s3_secret_key\" is set in file");
  config_.inline_secrets.front().file.clear();
  ExpectWarning("which all accounts of this machine can see", "s3_secret_key_file");
}

TEST_F(SecurityCheckTest, TheGroupOfTheServerOrOfTheOwnerMayRead) {
  const std::string file = directory_.Write("veza_backup.conf", "…", 0640);
  EXPECT_EQ(OtherReaders(file), "") << "its own group";
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file to another group";
  }
  const Account server{999, {999, 54321}};
  ASSERT_EQ(chown(file.c_str(), 0, 54321), 0);
  EXPECT_EQ(OtherReaders(file, server), "") << "root's, and the server is in the group";
  EXPECT_EQ(OtherReaders(file, {999, {999}}), "the group \"54321\"");
  EXPECT_EQ(OtherReaders(file, {0, {0}}), "the group \"54321\"");
  ASSERT_EQ(chown(file.c_str(), 0, 100), 0);
  EXPECT_EQ(OtherReaders(file, {999, {999}}), "the group \"users\"");
  EXPECT_EQ(OtherReaders(file, {0, {0}}), "the group \"users\"");
  ASSERT_EQ(chown(file.c_str(), 1, 1), 0);
  EXPECT_EQ(OtherReaders(file, {999, {999}}), "") << "the owner's primary group";
  ASSERT_EQ(chown(file.c_str(), 0, 1), 0);
  EXPECT_EQ(OtherReaders(file, {0, {0}}), "") << "root does not know who the server is";
  EXPECT_EQ(OtherReaders(file, {999, {999}}), "the group \"daemon\"");
}

TEST_F(SecurityCheckTest, ADirectoryAboveMayKeepOthersOut) {
  const std::string file = directory_.Write("private/postgresql.conf", "…", 0644);
  EXPECT_EQ(OtherReaders(file), "other accounts");
  chmod((directory_.path() + "/private").c_str(), 0700);
  EXPECT_EQ(OtherReaders(file), "");
  EXPECT_EQ(OtherReaders(directory_.path() + "/absent"), std::nullopt);
  EXPECT_EQ(OtherReaders(""), std::nullopt);
}

TEST_F(SecurityCheckTest, TheRealPathOfTheFileDecides) {
  const std::string open_file = directory_.Write("open/veza.conf", "…", 0644);
  const std::string closed_file = directory_.Write("closed/veza.conf", "…", 0644);
  const std::string open_directory = directory_.path() + "/open";
  const std::string closed = directory_.path() + "/closed";
  chmod(closed.c_str(), 0700);
  const auto link = [](const std::string& target, const std::string& path) {
    EXPECT_EQ(symlink(target.c_str(), path.c_str()), 0);
    return path;
  };
  EXPECT_EQ(OtherReaders(link(open_file, closed + "/absolute")), "other accounts");
  EXPECT_EQ(OtherReaders(link("../open/veza.conf", closed + "/relative")), "other accounts");
  EXPECT_EQ(OtherReaders(link("absolute", closed + "/twice")), "other accounts");
  EXPECT_EQ(OtherReaders(link(open_directory, closed + "/directory") + "/veza.conf"),
            "other accounts");
  EXPECT_EQ(OtherReaders(link(closed_file, open_directory + "/inwards")), "");
  EXPECT_EQ(OtherReaders(link(closed, open_directory + "/directory") + "/veza.conf"), "");
  EXPECT_EQ(OtherReaders(link("absent", closed + "/dangling")), std::nullopt);
  ASSERT_EQ(::link(closed_file.c_str(), (open_directory + "/second").c_str()), 0);
  EXPECT_EQ(OtherReaders(closed_file), "other accounts") << "by its other name";
  config_.inline_secrets.push_back({"s3_secret_key", closed + "/absolute", SecretString("k7Jd0")});
  ExpectFailure("other accounts can read file", "chmod 0600");
}

TEST_F(SecurityCheckTest, ARuleThatDeletesBackupsFails) {
  for (const char* prefix : {"", "production/", "production/main/", "production/main/identity/"}) {
    bucket_.rules = {{.id = "ninety days", .prefix = prefix, .expires_current = true}};
    ExpectFailure("lifecycle rule \"ninety days\" of the bucket deletes objects",
                  "Remove the rule");
  }
  bucket_.rules->front().needs_size = true;
  ExpectFailure("lifecycle rule", "Remove the rule");
  bucket_.rules->front().tags = {{"temporary", "yes"}};  // our objects do not have the tag
  EXPECT_TRUE(Row().passed);
  config_.s3.objects.tags = {{"project", "shop"}, {"temporary", "yes"}};
  ExpectFailure("lifecycle rule", "Remove the rule");
  config_.s3.objects.tags = {{"temporary", "no"}};
  EXPECT_TRUE(Row().passed);
  bucket_.rules = {{.id = "others", .prefix = "production/mainframe", .expires_current = true},
                   {.id = "versions", .expires_noncurrent = true}};
  EXPECT_TRUE(Row().passed);
}

TEST_F(SecurityCheckTest, WarnsOfOldVersionsThatAreNeverRemoved) {
  bucket_.rules->clear();
  ExpectWarning("no lifecycle rule ever removes them", "noncurrent versions");
  bucket_.rules = {{.id = "elsewhere", .prefix = "other/", .expires_noncurrent = true}};
  ExpectWarning("no lifecycle rule ever removes them", "noncurrent versions");
  bucket_.rules->front().prefix = "prod";
  ExpectNoAdvice("the bucket keeps old versions");
  bucket_.retention = {.mode = "COMPLIANCE", .days = 7};
  ExpectNoAdvice("it locks each object for 7 days (COMPLIANCE)");
  bucket_.versioning = Versioning::kSuspended;
  ExpectNoAdvice("versioning of the bucket is suspended: what is deleted now is gone");
  bucket_.versioning = Versioning::kNever;
  ExpectNoAdvice("the bucket keeps no old versions");
}

TEST_F(SecurityCheckTest, ReportsWhatIsUnknown) {
  bucket_ = {.versioning = {}, .rules = {}, .unknown = "server answered 403 AccessDenied"};
  ExpectNoAdvice("are unknown (server answered 403 AccessDenied)");
}

TEST_F(SecurityCheckTest, ADirectoryHasNoBucket) {
  config_.kind = RepositoryKind::kDirectory;
  config_.s3.endpoint = "http://s3.example.com";
  const CheckResult row = JudgeSecurity(config_, std::nullopt);
  EXPECT_TRUE(row.passed);
  EXPECT_EQ(row.detail, "encrypted with aes-256-gcm");
}

TEST(BucketRules, AreRead) {
  EXPECT_EQ(ParseVersioning("<VersioningConfiguration/>"), Versioning::kNever);
  EXPECT_EQ(ParseVersioning("<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/\">"
                            "<Status>Enabled</Status></VersioningConfiguration>"),
            Versioning::kEnabled);
  EXPECT_EQ(ParseVersioning("<VersioningConfiguration><Status>Suspended</Status>"
                            "</VersioningConfiguration>"),
            Versioning::kSuspended);
  EXPECT_EQ(ParseVersioning("<html/>"), std::nullopt);
  EXPECT_EQ(ParseVersioning("not XML"), std::nullopt);

  const auto rules = ParseLifecycle(R"(<LifecycleConfiguration>
    <Rule><ID>old form</ID><Prefix>a/</Prefix><Status>Enabled</Status>
      <Expiration><Days>90</Days></Expiration></Rule>
    <Rule><ID>off</ID><Filter/><Status>Disabled</Status>
      <Expiration><Days>1</Days></Expiration></Rule>
    <Rule><ID>tagged</ID><Filter><And><Prefix>b/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>
      </And></Filter><Status>Enabled</Status><Expiration><Date>2030-01-01</Date></Expiration></Rule>
    <Rule><ID>versions</ID><Filter><Prefix>c/</Prefix></Filter><Status>Enabled</Status>
      <NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration>
      <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule>
    </LifecycleConfiguration>)");
  ASSERT_TRUE(rules);
  ASSERT_EQ(rules->size(), 3U);
  EXPECT_EQ((*rules)[0].prefix, "a/");
  EXPECT_TRUE((*rules)[0].expires_current);
  EXPECT_EQ((*rules)[1].prefix, "b/");
  EXPECT_EQ((*rules)[1].tags, (S3Tags{{"k", "v"}}));
  EXPECT_TRUE((*rules)[1].expires_current);
  EXPECT_EQ((*rules)[2].prefix, "c/");
  EXPECT_TRUE((*rules)[2].expires_noncurrent);
  EXPECT_FALSE((*rules)[2].expires_current) << "it removes markers of what was deleted";
  EXPECT_EQ((*rules)[2].noncurrent_days, 30);
  EXPECT_FALSE(ParseLifecycle("<html/>"));

  const auto keeps_some = ParseLifecycle(R"(<LifecycleConfiguration><Rule><Status>Enabled</Status>
    <NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>1
    </NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>)");
  EXPECT_FALSE(keeps_some->front().expires_noncurrent) << "the only version of a WAL segment stays";
}

TEST(BucketRules, ObjectLockIsRead) {
  const auto read = [](const std::string& rule) {
    return ParseObjectLock(
               "<ObjectLockConfiguration><ObjectLockEnabled>Enabled"
               "</ObjectLockEnabled>" +
               rule + "</ObjectLockConfiguration>")
        .value();
  };
  const auto retention = [](const std::string& text) {
    return "<Rule><DefaultRetention>" + text + "</DefaultRetention></Rule>";
  };
  EXPECT_FALSE(read(""));
  EXPECT_EQ(read(retention("<Mode>GOVERNANCE</Mode><Days>3</Days>"))->days, 3);
  EXPECT_EQ(read(retention("<Mode>COMPLIANCE</Mode><Years>2</Years>"))->days, 730);
  EXPECT_EQ(read(retention("<Mode>COMPLIANCE</Mode><Years>2</Years>"))->mode, "COMPLIANCE");
  for (const char* odd : {"<Mode>x\r\n</Mode><Days>3</Days>", "<Mode>GOVERNANCE</Mode>",
                          "<Mode>GOVERNANCE</Mode><Days>-3</Days>"}) {
    EXPECT_FALSE(read(retention(odd))) << odd;
  }
  EXPECT_FALSE(ParseObjectLock("<html/>"));
}

TEST(FreedSpace, DependsOnTheBucket) {
  Config config;
  config.kind = RepositoryKind::kS3;
  config.s3.prefix = "production/main";
  EXPECT_EQ(JudgeFreedSpace(config, std::nullopt).when, SpaceIsFree::kAtOnce);
  BucketRules bucket{.versioning = Versioning::kNever, .rules = std::vector<LifecycleRule>()};
  EXPECT_EQ(JudgeFreedSpace(config, bucket).when, SpaceIsFree::kAtOnce);
  bucket.versioning = Versioning::kSuspended;
  const FreedSpace suspended = JudgeFreedSpace(config, bucket);
  EXPECT_EQ(suspended.when, SpaceIsFree::kUnknown);
  EXPECT_THAT(suspended.detail, HasSubstr("versioning of the bucket is suspended"));
  bucket.versioning = Versioning::kEnabled;
  const FreedSpace never = JudgeFreedSpace(config, bucket);
  EXPECT_EQ(never.when, SpaceIsFree::kNever);
  EXPECT_THAT(never.hint, HasSubstr(R"("Filter":{"Prefix":"production/main/"})"));
  bucket.rules = {{.id = "slow", .expires_noncurrent = true, .noncurrent_days = 60},
                  {.id = "fast", .expires_noncurrent = true, .noncurrent_days = 1}};
  EXPECT_EQ(JudgeFreedSpace(config, bucket).detail,
            "which lifecycle rule \"fast\" removes 1 day after they were deleted");
  bucket.retention = {.mode = "GOVERNANCE", .days = 10};
  const FreedSpace later = JudgeFreedSpace(config, bucket);
  EXPECT_EQ(later.when, SpaceIsFree::kLater);
  EXPECT_THAT(later.detail, HasSubstr("but not before they are 10 days old (GOVERNANCE lock)"));
  bucket = {.versioning = {}, .rules = {}, .unknown = "server answered 403 AccessDenied"};
  EXPECT_EQ(JudgeFreedSpace(config, bucket).when, SpaceIsFree::kUnknown);
}

}  // namespace
}  // namespace veza
