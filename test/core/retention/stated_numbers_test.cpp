// Tests what the backups say about the servers' retention.
#include "core/retention/stated_numbers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr const char* kOlder = "20261121-020000F";
constexpr const char* kNewer = "20261122-020000F";
constexpr const char* kNewest = "20261123-020000F";

class StatedNumbersTest : public testing::Test {
 protected:
  void Have(const std::string& label, const std::string& node,
            std::map<std::string, std::string> settings, std::uint64_t system = kTestSystem) {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.node = node;
    summary.system_identifier = system;
    settings["veza_backup.repository"] = "/srv/backup";
    summary.settings = std::move(settings);
    WriteText(repository_.PathOf(BackupDocumentName(label)),
              SerializeSummary(summary, repository_->seal_policy()).value());
  }
  StatedNumbers Stated() {
    return ReadStatedNumbers(*repository_, kTestSystem, ReadBackupCatalog(*repository_).value())
        .value();
  }

  TestRepository repository_{Cipher::kAes256Gcm};
};

TEST_F(StatedNumbersTest, TheNewestBackupOfANodeTells) {
  EXPECT_TRUE(Stated().numbers.empty());
  Have(kOlder, "a", {{"veza_backup.retention_full", "9"}});
  Have(kNewer, "a", {{"veza_backup.retention_full", "2"}});
  EXPECT_EQ(Stated().numbers.at("retention_full").number, 2);
  EXPECT_EQ(Stated().numbers.at("retention_full").backup, kNewer);
  EXPECT_EQ(Stated().numbers.at("retention_diff").number, 7) << "a default is not recorded";
  EXPECT_EQ(Stated().numbers.size(), 4U);
  EXPECT_EQ(Stated().unknown, "");
}

// The newest backup may be of a standby, which has a configuration of its own.
TEST_F(StatedNumbersTest, OfSeveralNodesTheOneThatKeepsMostCounts) {
  Have(kOlder, "a", {{"veza_backup.retention_full", "8"}, {"veza_backup.retention_diff", "1"}});
  Have(kNewer, "b", {{"veza_backup.retention_full", "2"}, {"veza_backup.retention_diff", "0"}});
  EXPECT_EQ(Stated().numbers.at("retention_full").number, 8);
  EXPECT_EQ(Stated().numbers.at("retention_full").backup, kOlder);
  EXPECT_EQ(Stated().numbers.at("retention_diff").number, 0) << "0 keeps all";
  EXPECT_EQ(Stated().numbers.at("retention_diff").backup, kNewer);
  Have(kNewest, "c", {{"veza_backup.retention_full", "99"}}, kTestSystem + 1);
  EXPECT_EQ(Stated().numbers.at("retention_full").number, 8) << "another system";
}

TEST_F(StatedNumbersTest, WhatTheNodesKeepByTimeAddsUp) {
  Have(kOlder, "a",
       {{"veza_backup.retention_window", "14d"}, {"veza_backup.retention_keep", "3 daily"}});
  Have(
      kNewer, "b",
      {{"veza_backup.retention_window", "2h"}, {"veza_backup.retention_keep", "2 daily,1 yearly"}});
  Have(kNewest, "c", {});
  EXPECT_EQ(Stated().window, std::chrono::days(14));
  EXPECT_EQ(Stated().keep, (std::vector<KeepRule>{{3, KeepPeriod::kDay}, {1, KeepPeriod::kYear}}));
}

// A newer version may know more.
TEST_F(StatedNumbersTest, AValueThatCannotBeReadMakesItUnknown) {
  Have(kOlder, "a", {{"veza_backup.retention_full", "5"}});
  Have(kNewer, "b", {{"veza_backup.retention_keep", "24 hourly"}});
  EXPECT_THAT(Stated().unknown, HasSubstr(kNewer));
  EXPECT_THAT(Stated().unknown, HasSubstr("\"24 hourly\" does not name a period"));
  EXPECT_EQ(Stated().numbers.at("retention_full").number, 5);
}

// Whatever it is the newest backup of: that server might keep more. The others tell at least so
// much.
TEST_F(StatedNumbersTest, ABackupThatCannotBeReadMakesItUnknown) {
  Have(kNewer, "a", {{"veza_backup.retention_full", "5"}});
  for (const char* const broken : {kOlder, kNewest}) {
    WriteText(repository_.PathOf(BackupDocumentName(broken)), "broken");
    EXPECT_THAT(Stated().unknown, HasSubstr(broken));
    EXPECT_EQ(Stated().numbers.at("retention_full").number, 5);
    Have(broken, "a", {{"veza_backup.retention_full", "5"}});
    EXPECT_EQ(Stated().unknown, "");
  }
}

TEST_F(StatedNumbersTest, ANodeWhoseNewestBackupDoesNotTellMakesItUnknown) {
  const BackupSummary silent = TestSummary(*repository_, kOlder);  // of 0.1, without such settings
  WriteText(repository_.PathOf(BackupDocumentName(kOlder)),
            SerializeSummary(silent, repository_->seal_policy()).value());
  EXPECT_THAT(Stated().unknown, HasSubstr(kOlder));
  EXPECT_TRUE(Stated().numbers.empty());
  Have(kNewer, "b", {{"veza_backup.retention_full", "5"}});
  EXPECT_THAT(Stated().unknown, HasSubstr(kOlder)) << "the other node still may keep more";
  EXPECT_EQ(Stated().numbers.at("retention_full").number, 5);
  Have(kNewest, silent.node, {});
  EXPECT_EQ(Stated().unknown, "");
}

TEST(KeepsLess, ZeroKeepsAll) {
  EXPECT_TRUE(KeepsLess(1, 2));
  EXPECT_TRUE(KeepsLess(1, 0));
  EXPECT_FALSE(KeepsLess(0, 1));
  EXPECT_FALSE(KeepsLess(2, 2));
  EXPECT_FALSE(KeepsLess(0, 0));
}

}  // namespace
}  // namespace veza
