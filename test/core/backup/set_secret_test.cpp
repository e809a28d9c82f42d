#include "core/backup/set_secret.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

std::string Found(std::string_view text) {
  return FindSetSecret(text).value_or("");
}

TEST(SetSecret, AnAssignmentCounts) {
  for (const char* text : {
           "veza_backup.s3_secret_key = 'hunter2'\n",
           "work_mem = '4MB'\nVEZA_Backup.S3_Secret_Key='hunter2' # mine",
           "veza_backup.s3_secret_key hunter2\n",
           "veza_backup.s3_secret_key 'hunter2'\n",
           "veza_backup.s3_secret_key'hunter2'\n",
           "veza_backup.s3_secret_key = see the vault\n",
           "veza_backup.s3_secret_key = 'hun",  // cut off by the end of a piece
           "LOG:  statement: ALTER SYSTEM SET veza_backup.s3_secret_key = 'hunter2';",
           "statement: alter system set veza_backup.s3_secret_key to 'hunter2';",
           "ALTER SYSTEM SET veza_backup.s3_secret_key TO hunter2;",
           "/usr/lib/postgresql/15/bin/postgres \"-D\" \"/data\" "
           "\"--veza_backup.s3_secret_key=hunter2\"\n",
           "exec postgres -c veza_backup.s3_secret_key=hunter2 -c port=5433\n",
           "log_line_prefix = '%m # '\nveza_backup.s3_secret_key = 'hunter2'\n",
       }) {
    EXPECT_EQ(Found(text), "veza_backup.s3_secret_key") << text;
  }
  EXPECT_EQ(Found("veza_backup.s3_session_token = 'FwoGZX'"), "veza_backup.s3_session_token");
  EXPECT_EQ(Found("veza_backup.cipher_passphrase = 'correct horse'"),
            "veza_backup.cipher_passphrase");
}

TEST(SetSecret, OtherLanguagesSetItAsWell) {
  for (const char* text : {
           "ALTER SYSTEM SET \"veza_backup.s3_secret_key\" = 'hunter2';",
           "ALTER SYSTEM SET \"veza_backup\".\"s3_secret_key\" = 'hunter2';",
           "ALTER SYSTEM SET veza_backup . s3_secret_key = 'hunter2';",
           "ALTER SYSTEM SET \"veza_backup.s3_secret_key\"\n  TO\n  'hunter2';",
           "ALTER SYSTEM SET veza_backup.s3_secret_key =\n  'hunter2';",
           "ALTER SYSTEM SET veza_backup.s3_secret_key = E'hunter2';",
           "ALTER SYSTEM SET veza_backup.s3_secret_key = $$hunter2$$;",
           "ALTER SYSTEM SET veza_backup.s3_secret_key = $key$hunter2$key$;",
           "ALTER SYSTEM SET veza_backup.s3_secret_key = \"hunter2\";",
           R"({"postgresql":{"parameters":{"a":"#","veza_backup.s3_secret_key":"hunter2"}}})",
           "{\n  \"veza_backup.s3_secret_key\":\n    \"hunter2\"\n}",
           R"("{\"veza_backup.s3_secret_key\": \"hunter2\"}")",
           "parameters:\n  veza_backup.s3_secret_key: hunter2\n  port: 5432\n",
           "parameters:\n  'veza_backup.s3_secret_key': 'hunter2'\n",
           "parameters: {veza_backup.s3_secret_key: hunter2}\n",
       }) {
    EXPECT_EQ(Found(text), "veza_backup.s3_secret_key") << text;
  }
}

TEST(SetSecret, ACarriageReturnIsABlank) {
  for (const char* text : {
           "veza_backup.s3_secret_key\r=\r'hunter2'\r\n",
           "veza_backup.s3_secret_key\r'hunter2'\n",
           "port = 5432\n\rveza_backup.s3_secret_key hunter2\r\n",
       }) {
    EXPECT_EQ(Found(text), "veza_backup.s3_secret_key") << text;
  }
  EXPECT_EQ(Found("# do not set\rveza_backup.s3_secret_key = here\n"), "") << "one comment";
}

TEST(SetSecret, InACommentWhatCouldBeASecretCounts) {
  for (const char* text : {
           "# veza_backup.s3_secret_key = 'hunter22'   (until May)\n",
           "#veza_backup.s3_secret_key = minioadmin\n",
           "#veza_backup.s3_secret_key=minioadmin # of the test server\n",
           "#veza_backup.s3_secret_key hunter22\n",
           "  ## veza_backup.s3_secret_key: hunter22\n",
           ";veza_backup.s3_secret_key = wJalrXUtnFEMI/K7MDENG\n",
           "-- ALTER SYSTEM SET veza_backup.s3_secret_key = 'hunter22';\n",
           "--ALTER SYSTEM SET veza_backup.s3_secret_key TO hunter22;\n",
           "port = 5433 # veza_backup.s3_secret_key = 'hunter22'\n",
           "# \"veza_backup.s3_secret_key\": \"hunter22\",\n",
           "# veza_backup.s3_secret_key = 'correct horse battery'\n",
       }) {
    EXPECT_EQ(Found(text), "veza_backup.s3_secret_key") << text;
  }
}

// A false find would stop all backups.
TEST(SetSecret, ACommentThatSpeaksOfItDoesNot) {
  for (const char* text : {
           "# never set veza_backup.s3_secret_key to a value in this file\n",
           "# set veza_backup.s3_secret_key to something\n",
           "# veza_backup.s3_secret_key to be set in /etc/veza_backup\n",
           "# veza_backup.cipher_passphrase = see the vault\n",
           "#veza_backup.s3_secret_key = '...'\n",
           "#veza_backup.s3_secret_key = '............'\n",
           "#veza_backup.s3_secret_key = 'wJal...Jd0k7'\n",
           "#veza_backup.s3_secret_key = '********'\n",
           "# veza_backup.s3_secret_key = (see s3.key)\n",
           "# veza_backup.s3_secret_key = (see-s3.key)\n",
           "# veza_backup.s3_secret_key = /etc/veza_backup/s3.key\n",
           "# veza_backup.s3_secret_key = <key of the bucket>\n",
           "# veza_backup.s3_secret_key = '<key of the bucket> here'\n",
           "# veza_backup.s3_secret_key = '<your key>'\n",
           "# veza_backup.s3_secret_key = 'changeme123'\n",
           "# veza_backup.s3_secret_key = 'my-secret-key'\n",
           "# veza_backup.s3_secret_key = ''\n",
           "# veza_backup.s3_secret_key = $S3_SECRET_KEY\n",
           "# veza_backup.s3_secret_key: deprecated\n",
           "# veza_backup.s3_secret_key deprecated\n",
           "# veza_backup.s3_secret_key\n",
           "# veza_backup.s3_secret_key =\n'hunter22'\n",
           "#veza_backup.s3_secret_key =\n#veza_backup.cluster = 'production'\n",
           "port = 5433 # veza_backup.s3_secret_key = none of them\n",
       }) {
    EXPECT_EQ(Found(text), "") << text;
  }
}

TEST(SetSecret, PassesWhatIsNoSecret) {
  for (const char* text : {
           "",
           "v",
           "veza_backup",
           "veza_backup.",
           "\"veza_backup\"",
           "veza_backup.s3_secret_key",
           "\"veza_backup.s3_secret_key\"",
           "veza_backup.s3_secret_key = ''\n'x'",
           "veza_backup.s3_secret_key =\nport = 5432\n",
           "veza_backup.s3_secret_key_file = '/etc/veza_backup/s3.key'\n",
           "veza_backup.s3_access_key = 'veza-backup'\n",
           "veza_backup.cluster = 'main'\n",
           "{\"veza_backup.s3_secret_key\": \"\", \"port\": 5432}",
           "parameter \"veza_backup.s3_secret_key\" changed to \"\"",
           "never set veza_backup.s3_secret_key to a value in this file\n",
           "veza_backup.s3_secret_key to be set in /etc/veza_backup\n",
           "veza_backup.s3_secret_key|\n",
           "HINT:  Check veza_backup.s3_secret_key or the file that veza_backup.s3_secret_key_file "
           "names.",
           "HINT:  Set veza_backup.cipher_passphrase or veza_backup.cipher_passphrase_file to the "
           "passphrase",
           " veza_backup.s3_secret_key | ********",
       }) {
    EXPECT_EQ(Found(text), "") << text;
  }
}

// The time must not grow with the square of the length.
TEST(SetSecret, LooksAtALongLineOnce) {
  std::string line;
  while (line.size() < std::size_t{1} << 20) {
    line += R"("veza_backup.s3_secret_key":"",)";
  }
  EXPECT_EQ(Found(line), "");
}

}  // namespace
}  // namespace veza
