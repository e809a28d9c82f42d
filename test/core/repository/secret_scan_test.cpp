#include "core/repository/secret_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config/temporary_directory.h"
#include "core/repository/directory_survey.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr const char* kKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq7Jd0";

std::string Found(std::string_view text) {
  const SecretScan scan({SecretString(kKey)});
  return scan.Find(AsBytes(text)).value_or("");
}

TEST(SecretScan, FindsWhatASettingIsSetTo) {
  for (const char* text : {
           "veza_backup.s3_secret_key = 'hunter2'\n",
           "work_mem = '4MB'\nVEZA_Backup.S3_Secret_Key='hunter2' # mine",
           "veza_backup.s3_secret_key hunter2\n", "veza_backup.s3_secret_key 'hunter2'\n",
           "# veza_backup.s3_secret_key = 'hunter2'   (until May)\n",
           "#veza_backup.s3_secret_key hunter2\n",
           "LOG:  statement: ALTER SYSTEM SET veza_backup.s3_secret_key = 'hunter2';",
           "statement: alter system set veza_backup.s3_secret_key to 'hunter2';",
           "veza_backup.s3_secret_key = 'hun",  // cut off by the end of a piece
       }) {
    EXPECT_EQ(Found(text), "a value of \"veza_backup.s3_secret_key\"") << text;
  }
  EXPECT_THAT(Found("veza_backup.s3_session_token = 'FwoGZX'"), HasSubstr("s3_session_token"));
  EXPECT_THAT(Found("veza_backup.cipher_passphrase = 'correct horse'"),
              HasSubstr("cipher_passphrase"));
}

TEST(SecretScan, FindsAValueByItself) {
  EXPECT_EQ(Found(fmt::format("{}\n", kKey)), "a secret that veza_backup uses");
  EXPECT_EQ(Found(fmt::format("export AWS_SECRET_ACCESS_KEY={}", kKey)),
            "a secret that veza_backup uses");
  // A short one could be anywhere.
  EXPECT_FALSE(SecretScan({SecretString("short")}).Find(AsBytes("a short text")));
}

TEST(SecretScan, PassesWhatIsNoSecret) {
  for (const char* text : {
           "",
           "v",
           "veza_backup.",
           "veza_backup.s3_secret_key",
           "veza_backup.s3_secret_key = ''\n'x'",
           "# veza_backup.s3_secret_key = '<your key>'\n",
           "veza_backup.s3_secret_key_file = '/etc/veza_backup/s3.key'\n",
           "veza_backup.s3_access_key = 'veza-backup'\n",
           "veza_backup.cluster = 'main'\n",
           "parameter \"veza_backup.s3_secret_key\" changed to \"\"",
           "HINT:  Check veza_backup.s3_secret_key or the file that veza_backup.s3_secret_key_file "
           "names.",
           "HINT:  Set veza_backup.cipher_passphrase or veza_backup.cipher_passphrase_file to the "
           "passphrase",
           " veza_backup.s3_secret_key | ********",
       }) {
    EXPECT_EQ(Found(text), "") << text;
  }
}

TEST(SecretScan, ConcernsWhatPeopleWrite) {
  for (const char* path : {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "PG_VERSION",
                           "conf.d/s3.conf", "log/postgresql-Sat.log", "keys/s3.key"}) {
    EXPECT_TRUE(SecretScan::Concerns(path)) << path;
  }
  for (const char* path : {"base/5/1259", "global/1262", "pg_xact/0000", "pg_tblspc/16384/x",
                           "pg_logical/replorigin_checkpoint"}) {
    EXPECT_FALSE(SecretScan::Concerns(path)) << path;
  }
}

TEST(SecretScan, ReadsAllOfAFile) {
  TemporaryDirectory directory;
  const SecretScan scan({SecretString(kKey)});
  // Also across the pieces that it reads.
  for (const std::size_t before :
       {std::size_t{0}, (std::size_t{1} << 20) - 10, std::size_t{3} << 20}) {
    const std::string path = directory.Write("a.log", std::string(before, '-') + kKey + "\n");
    EXPECT_TRUE(scan.FindInFile(path)) << before;
  }
  EXPECT_FALSE(scan.FindInFile(directory.Write("b.log", std::string(3U << 20, '-'))));
  EXPECT_FALSE(scan.FindInFile(directory.path() + "/absent"));
}

TEST(SecretScan, IsForBackupsThatAreNotEncrypted) {
  Config config;
  config.inline_secrets.push_back({"s3_secret_key", "", SecretString(kKey)});
  config.cipher = Cipher::kAes256Gcm;
  EXPECT_EQ(MakeSecretScan(config), nullptr);
  config.cipher = Cipher::kNone;
  const auto scan = MakeSecretScan(config);
  ASSERT_NE(scan, nullptr);
  EXPECT_TRUE(scan->Find(AsBytes(std::string_view(kKey))));
  config.inline_secrets.clear();
  config.s3.session_token = kKey;
  EXPECT_TRUE(MakeSecretScan(config)->Find(AsBytes(std::string_view(kKey))));
}

TEST(SecretScan, ASurveyNamesTheFile) {
  TemporaryDirectory directory;
  const SecretScan scan({});
  WalkOptions options;
  options.data_directory = directory.path();
  const Cancellation cancellation;
  std::filesystem::create_directory(directory.path() + "/pg_tblspc");
  directory.Write("postgresql.conf", "port = 5432\n");
  EXPECT_TRUE(SurveyDataDirectory(options, cancellation, &scan));
  std::filesystem::create_directory(directory.path() + "/conf.d");
  directory.Write("conf.d/s3.conf", "veza_backup.s3_secret_key = 'hunter2'\n");
  const Result<DirectorySurvey> survey = SurveyDataDirectory(options, cancellation, &scan);
  ASSERT_FALSE(survey);
  EXPECT_EQ(survey.error().code, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(survey.error().message,
              HasSubstr("file \"conf.d/s3.conf\" holds a value of \"veza_backup.s3_secret_key\""));
  EXPECT_THAT(survey.error().message, testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(survey.error().hint, HasSubstr("veza_backup.s3_secret_key_file"));
  EXPECT_TRUE(SurveyDataDirectory(options, cancellation)) << "an encrypted backup may hold it";
}

}  // namespace
}  // namespace veza
