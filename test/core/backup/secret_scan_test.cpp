#include "core/backup/secret_scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/backup/directory_survey.h"
#include "core/config/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr const char* kKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzq7Jd0";

std::string FoundIn(std::string_view path, std::string_view text) {
  const SecretScan scan({SecretString(kKey)});
  return scan.Find(path, AsBytes(text)).value_or("");
}

std::string Found(std::string_view text) {
  return FoundIn("postgresql.conf", text);
}

TEST(SecretScan, FindsWhatASettingIsSetTo) {
  EXPECT_EQ(Found("veza_backup.s3_secret_key = 'hunter2'\n"),
            "a value of \"veza_backup.s3_secret_key\"");
  EXPECT_EQ(Found("# never set veza_backup.s3_secret_key to a value in this file\n"), "");
}

TEST(SecretScan, FindsAValueByItself) {
  EXPECT_EQ(Found(fmt::format("{}\n", kKey)), "a secret that veza_backup uses");
  EXPECT_EQ(Found(fmt::format("export AWS_SECRET_ACCESS_KEY={}", kKey)),
            "a secret that veza_backup uses");
  // A short value may be in any file by chance.
  EXPECT_FALSE(SecretScan({SecretString("short")}).Find("s3.key", AsBytes("a short text")));
  for (const char* path : {"s3.key", "keys/s3.key", "keys/accessKeys.csv", "credentials.json"}) {
    EXPECT_EQ(FoundIn(path, kKey), "a secret that veza_backup uses") << path;
  }
}

TEST(SecretScan, FindsAValueAsOtherLanguagesSpellIt) {
  for (const char* text : {R"({"veza.key":"wJalrXUtnFEMI\/K7MDENG\/bPxRfiCYzq7Jd0"})",
                           "s3://veza:wJalrXUtnFEMI%2FK7MDENG%2fbPxRfiCYzq7Jd0@s3.example.com/"}) {
    EXPECT_EQ(FoundIn("patroni.dynamic.json", text), "a secret that veza_backup uses") << text;
  }
  const SecretScan scan({SecretString("it's\\mine")});
  EXPECT_TRUE(scan.Find("a.sql", AsBytes(std::string_view(R"('it''s\mine')"))));
  EXPECT_TRUE(scan.Find("a.sql", AsBytes(std::string_view(R"(E'it\'s\\mine')"))));
}

TEST(SecretScan, ConcernsWhatPeopleWrite) {
  const SecretScan scan({}, "messages/today");
  for (const char* path :
       {"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "PG_VERSION", "conf.d/s3.conf",
        "keys/s3.key", "pg_conf.d/s3.conf", "pg_stat_old/s3.conf", "messages/s3.key",
        "messages/todays.key", "pg_wal"}) {
    EXPECT_TRUE(scan.Concerns(path)) << path;
  }
  for (const char* path :
       {"base/5/1259", "global/1262", "pg_xact/0000", "pg_tblspc/16384/x", "pg_stat/pgstat.stat",
        "pg_logical/replorigin_checkpoint", "messages/today/server", "log/postgresql-Sat",
        "pg_log/a.csv", "old/log/a.json", "server.log", "old/server.log.1", "a.log-20261128"}) {
    EXPECT_FALSE(scan.Concerns(path)) << path;
  }
}

// Anybody who reaches the port can put a name with any value into a log.
TEST(SecretScan, LooksForNamesInConfigurationAlone) {
  const std::string line = "FATAL:  role \"veza_backup.s3_secret_key=hunter2\" does not exist\n";
  for (const char* path :
       {"postgresql.conf", "postgresql.conf.old", "settings", "postmaster.opts", "conf.d/s3",
        "pg_conf.d/s3.conf", "etc/login.conf", "pg_log.conf", "patroni.dynamic.json", "patroni.yml",
        "deploy/patroni.yml.bak", "etc/x.txt", "setup.sql"}) {
    EXPECT_NE(FoundIn(path, line), "") << path;
  }
  for (const char* path :
       {"log/postgresql-Sat.log", "log/postgresql-Sat.csv", "log/postgresql-Sat.json", "log/today",
        "logfile", "serverlog", "server.log", "postgresql-Sat.csv", "postgresql-Sat.json",
        "nohup.out", "spool/today", "spool/today.csv", "conf.d/a.log"}) {
    EXPECT_EQ(FoundIn(path, line), "") << path;
  }
  EXPECT_FALSE(SecretScan({}, "spool").Find("spool/today", AsBytes(line)));
  const SecretScan logs_at_top({SecretString(kKey)}, ".");
  EXPECT_FALSE(logs_at_top.Find("today", AsBytes(line)));
  EXPECT_TRUE(logs_at_top.Find("postgresql.conf", AsBytes(line)));
  EXPECT_TRUE(logs_at_top.Find("s3.key", AsBytes(std::string_view(kKey))));
}

TEST(SecretScan, KnowsWhereTheServerLogs) {
  Config config;
  config.cipher = Cipher::kNone;
  for (const char* directory :
       {"spool", "spool/", "./spool", "/srv/data/spool", "/srv//data/spool/"}) {
    EXPECT_FALSE(MakeSecretScan(config, "/srv/data", directory, "")->Concerns("spool/today"))
        << directory;
    EXPECT_TRUE(MakeSecretScan(config, "/srv/data/", directory, "")->Concerns("spools"))
        << directory;
  }
  EXPECT_TRUE(
      MakeSecretScan(config, "/srv/data", "/var/log/postgresql", "")->Concerns("spool/today"));
  const std::string_view line = "veza_backup.s3_secret_key=hunter2";
  for (const char* directory : {".", "/srv/data", "/srv/data/"}) {
    EXPECT_FALSE(MakeSecretScan(config, "/srv/data", directory, "")->Find("today", AsBytes(line)))
        << directory;
  }
}

TEST(SecretScan, KnowsEverySecretOfTheStore) {
  Config config;
  config.cipher = Cipher::kNone;
  config.s3.proxy_login = "backup:correct horse";
  config.s3.objects.customer_key.key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  const auto scan = MakeSecretScan(config, "/srv/data", "log", "");
  for (const char* secret : {"backup:correct horse", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                             "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}) {
    EXPECT_TRUE(scan->Find("keys", AsBytes(std::string_view(secret)))) << secret;
  }
  EXPECT_FALSE(scan->Find("keys", AsBytes(std::string_view("nothing of interest"))));
}

// Configuration files count whatever their names are, and so do the files next to them.
TEST(SecretScan, KnowsWhatTheConfigurationIncludes) {
  TemporaryDirectory directory;
  const std::string top = directory.path() + "/data";
  const std::string elsewhere = directory.path() + "/elsewhere";
  directory.Write("elsewhere/veza", "");
  const std::string config_file =
      directory.Write("data/postgresql.conf",
                      fmt::format("include 'inc/veza'\ninclude_if_exists 'messages/site.log'\n"
                                  "include '{}/veza'\ninclude 'base/more'\n",
                                  elsewhere));
  for (const char* name : {"inc/veza", "inc/veza.old", "inc/today.json", "messages/site.log",
                           "messages/other", "base/more", "base/other", "more/veza"}) {
    directory.Write(fmt::format("data/{}", name), "");
  }
  std::filesystem::create_directory_symlink(elsewhere, top + "/link");
  Config config;
  config.cipher = Cipher::kNone;
  const auto scan = MakeSecretScan(config, top, "messages", config_file);
  const auto finds = [&](const std::string& path) {
    const std::string_view line = "veza_backup.s3_secret_key = 'hunter2'\n";
    return scan->Find(path, AsBytes(line), std::filesystem::canonical(top + "/" + path).string())
        .has_value();
  };
  for (const char* path :
       {"inc/veza", "inc/veza.old", "messages/site.log", "base/more", "link/veza"}) {
    EXPECT_TRUE(finds(path)) << path;
  }
  for (const char* path : {"inc/today.json", "messages/other", "base/other", "more/veza"}) {
    EXPECT_FALSE(finds(path)) << path;
  }
}

TEST(SecretScan, ReadsAllOfAFile) {
  TemporaryDirectory directory;
  const SecretScan scan({SecretString(kKey)});
  // A value may cross the pieces that are read.
  for (const std::size_t before :
       {std::size_t{0}, (std::size_t{1} << 20) - 10, std::size_t{3} << 20}) {
    const std::string path = directory.Write("a", std::string(before, '-') + kKey + "\n");
    EXPECT_TRUE(scan.FindInFile("a", path, Cancellation()).value()) << before;
  }
  const std::string long_one = directory.Write("b", std::string(3U << 20, '-'));
  EXPECT_FALSE(scan.FindInFile("b", long_one, Cancellation()).value());
  EXPECT_FALSE(scan.FindInFile("absent", directory.path() + "/absent", Cancellation()).value());
  Cancellation cancellation;
  cancellation.Cancel();
  EXPECT_EQ(scan.FindInFile("b", long_one, cancellation).error().code, ErrorCode::kCancelled);
}

TEST(SecretScan, IsForBackupsThatAreNotEncrypted) {
  Config config;
  config.inline_secrets.push_back({"s3_secret_key", "", SecretString(kKey)});
  config.cipher = Cipher::kAes256Gcm;
  EXPECT_EQ(MakeSecretScan(config, "/data", "log", ""), nullptr);
  config.cipher = Cipher::kNone;
  const auto scan = MakeSecretScan(config, "/data", "log", "");
  ASSERT_NE(scan, nullptr);
  EXPECT_TRUE(scan->Find("s3.key", AsBytes(std::string_view(kKey))));
  config.inline_secrets.clear();
  config.s3.session_token = kKey;
  EXPECT_TRUE(
      MakeSecretScan(config, "/data", "log", "")->Find("s3.key", AsBytes(std::string_view(kKey))));
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
  std::filesystem::create_directory(directory.path() + "/log");
  directory.Write("log/today", "veza_backup.s3_secret_key = 'hunter2'\n");
  directory.Write("large", std::string(2U << 20, '\n') + "veza_backup.s3_secret_key = 'hunter2'\n");
  EXPECT_TRUE(SurveyDataDirectory(options, cancellation, &scan))
      << "a survey reads neither logs nor what is too large for configuration";
  const std::string included =
      directory.Write("inc/veza", "veza_backup.s3_secret_key = 'hunter2'\n");
  EXPECT_TRUE(SurveyDataDirectory(options, cancellation, &scan)) << "no configuration";
  const SecretScan knows_it({}, "log", {std::filesystem::canonical(included).string()});
  EXPECT_FALSE(SurveyDataDirectory(options, cancellation, &knows_it)) << "it is included";
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
