#include "core/monitor/cluster_overview.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/limits.h"
#include "core/repository/drill_record.h"
#include "core/repository/test_backup.h"
#include "core/repository/tombstone.h"

namespace veza {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kOlder = "20261121-020000F";

class ClusterOverviewTest : public testing::Test {
 protected:
  ClusterOverviewTest() { repository_.clock().Sleep(std::chrono::hours(24), nullptr); }

  ClusterOverview Read() {
    return OverviewReader(repository_.clock().Now())
        .ReadUnverified("main", repository_.store())
        .value();
  }
  ClusterOverview ReadVerified() {
    return ReadVerifiedOverview("main", repository_.MakeStore(), repository_.options(),
                                repository_.environment(), {})
        .value();
  }
  // A backup that ended `hours` after kTestTime.
  void PutBackup(const std::string& label, int hours, std::uint64_t system = kTestSystem) {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.stop_time = kTestTime + std::chrono::hours(hours);
    summary.system_identifier = system;
    summary.size = 5000;
    PutWithoutPacks(*repository_, summary);
  }
  void PutDrill(int hours, bool passed, std::uint64_t system = kTestSystem) {
    ASSERT_TRUE(StoreDrill(*repository_, {.label = kTestLabel,
                                          .system_identifier = system,
                                          .node = "node-b",
                                          .target = "the end of WAL",
                                          .started = kTestTime + std::chrono::hours(hours),
                                          .passed = passed}));
  }
  void Damage(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(
        std::filesystem::path(repository_.PathOf(name)).parent_path());
    WriteText(repository_.PathOf(name), text);
  }
  void RemoveAll(const std::string& directory) {
    std::filesystem::remove_all(repository_.PathOf(directory));
  }

  TestRepository repository_{Cipher::kAes256Gcm};
};

TEST_F(ClusterOverviewTest, TellsWithoutTheKeyWhatTheDocumentsSay) {
  PutBackup(kOlder, -24);
  PutBackup(kTestLabel, 1);
  PutDrill(2, true);
  PutDrill(3, false);
  repository_.PushSegment(1, 4);
  repository_.PushSegment(1, 5);
  const ClusterOverview overview = Read();
  EXPECT_TRUE(overview.is_cluster);
  EXPECT_FALSE(overview.is_verified);
  EXPECT_EQ(overview.cluster, "main");
  EXPECT_EQ(overview.system_identifier, kTestSystem);
  EXPECT_EQ(overview.backups, 2U);
  ASSERT_TRUE(overview.newest);
  EXPECT_EQ(overview.newest->label, kTestLabel);
  EXPECT_EQ(overview.newest->size, 5000U);
  EXPECT_EQ(overview.newest->stop_time, kTestTime + std::chrono::hours(1));
  ASSERT_TRUE(overview.window);
  EXPECT_EQ(overview.window->start, kTestTime - std::chrono::hours(24));
  // The file that the store keeps was written just now.
  EXPECT_GT(overview.window->end, overview.newest->stop_time);
  ASSERT_TRUE(overview.last_drill);
  EXPECT_FALSE(overview.last_drill->passed);
  EXPECT_THAT(overview.problems, IsEmpty());
}

TEST_F(ClusterOverviewTest, WithoutLaterWalTheWindowEndsWithTheNewestBackup) {
  PutBackup(kTestLabel, 1);
  repository_.PushSegment(1, 4);  // stop_wal itself, and earlier WAL, say nothing of what followed
  const ClusterOverview overview = Read();
  ASSERT_TRUE(overview.window);
  EXPECT_EQ(overview.window->start, overview.window->end);
}

TEST_F(ClusterOverviewTest, AClusterThatHasNoBackupYetIsShown) {
  const ClusterOverview overview = Read();
  EXPECT_TRUE(overview.is_cluster);
  EXPECT_EQ(overview.backups, 0U);
  EXPECT_FALSE(overview.newest);
  EXPECT_FALSE(overview.window);
  EXPECT_THAT(overview.problems, IsEmpty());
}

TEST_F(ClusterOverviewTest, PassesOverUnfinishedBackupsTombstonesAndOtherSystems) {
  PutBackup("20261120-020000F", -48, kTestSystem + 1);
  PutBackup(kOlder, -24);
  PutBackup(kTestLabel, 1);
  Damage("backup/20261123-020000F/pack/00000001", "being made");
  const std::string buried = "20261124-020000F";
  Damage(BackupDocumentName(buried),
         SerializeTombstone(buried, "node-a", kTestTime, repository_->seal_policy()).value());
  const ClusterOverview overview = Read();
  ASSERT_TRUE(overview.newest);
  EXPECT_EQ(overview.newest->label, kTestLabel);
  EXPECT_EQ(overview.window->start, kTestTime - std::chrono::hours(24));
  EXPECT_THAT(overview.problems, IsEmpty());
}

TEST_F(ClusterOverviewTest, NamesDamagedDocumentsAndGoesOn) {
  PutBackup(kOlder, 1);
  PutDrill(2, true);
  Damage(BackupDocumentName(kTestLabel), "{\"format\":1");
  Damage(DrillName(kTestTime + std::chrono::hours(3), kTestLabel), "[]");
  const ClusterOverview overview = Read();
  ASSERT_TRUE(overview.newest);
  EXPECT_EQ(overview.newest->label, kOlder);
  EXPECT_TRUE(overview.last_drill->passed);
  ASSERT_EQ(overview.problems.size(), 2U);
  EXPECT_THAT(overview.problems[0].message, HasSubstr(kTestLabel));
  EXPECT_THAT(overview.problems[1].message, HasSubstr("drill/"));
}

TEST_F(ClusterOverviewTest, ADrillOfTheFutureDoesNotHideTheTrueOne) {
  PutDrill(2, true);
  PutDrill(24 * 300, false);
  EXPECT_TRUE(Read().last_drill->passed);
}

TEST_F(ClusterOverviewTest, GivesUpAfterTwentyUnfinishedBackups) {
  PutBackup(kOlder, 1);
  for (int i = 0; i < 25; ++i) {
    Damage(fmt::format("backup/202612{:02}-020000F/pack/00000001", i + 1), "x");
  }
  const ClusterOverview overview = Read();
  EXPECT_FALSE(overview.newest);
  EXPECT_EQ(overview.backups, 26U);
  ASSERT_EQ(overview.problems.size(), 1U);
  EXPECT_THAT(overview.problems[0].message, HasSubstr("none of the newest 20"));
}

TEST_F(ClusterOverviewTest, SaysWhenNoneOfAFewBackupsIsWhole) {
  Damage("backup/20261123-020000F/pack/00000001", "its backup.json was deleted");
  const ClusterOverview overview = Read();
  EXPECT_FALSE(overview.newest);
  ASSERT_EQ(overview.problems.size(), 1U);
  EXPECT_THAT(overview.problems[0].message, HasSubstr("none of the newest 1 backups"));
}

TEST_F(ClusterOverviewTest, DirectoriesWithoutARepositoryAreNone) {
  RemoveAll("identity");
  EXPECT_FALSE(Read().is_cluster);  // only key/: a repository in the making
  EXPECT_FALSE(ReadVerified().is_cluster);
  PutBackup(kTestLabel, 1);
  for (const ClusterOverview& lost : {Read(), ReadVerified()}) {
    EXPECT_TRUE(lost.is_cluster);
    ASSERT_FALSE(lost.problems.empty());
    EXPECT_THAT(lost.problems[0].message, HasSubstr("has no identity"));
  }
  EXPECT_TRUE(Read().newest);
}

TEST_F(ClusterOverviewTest, TakesALargeDocumentAndRefusesOneThatIsTooLarge) {
  BackupSummary summary = TestSummary(*repository_, kTestLabel);
  for (std::uint32_t oid = 20'000; oid < 24'000; ++oid) {
    summary.databases.push_back({oid, std::string(60, 'd'), 731, 8192});
  }
  PutWithoutPacks(*repository_, summary);
  EXPECT_TRUE(Read().newest);
  Damage(BackupDocumentName(kTestLabel), std::string(limits::kBackupDocument + 1, ' '));
  const ClusterOverview overview = Read();
  EXPECT_FALSE(overview.newest);
  ASSERT_EQ(overview.problems.size(), 2U);
  EXPECT_THAT(overview.problems[0].message, HasSubstr("larger than the limit"));
  EXPECT_THAT(overview.problems[1].message, HasSubstr("none of the newest 1 backups"));
}

TEST_F(ClusterOverviewTest, AProblemIsShortWhateverTheDocumentHolds) {
  PutBackup(kTestLabel, 1);
  Json document =
      ParseJsonObject(ReadText(repository_.PathOf(BackupDocumentName(kTestLabel)))).value();
  document["settings"] = Json::Object();
  document["settings"][std::string(100'000, 'x')] = 1;
  Damage(BackupDocumentName(kTestLabel), document.Print());
  const ClusterOverview overview = Read();
  ASSERT_FALSE(overview.problems.empty());
  EXPECT_LE(overview.problems[0].message.size(), 400U);
}

TEST_F(ClusterOverviewTest, TroubleOfTheStoreEndsTheList) {
  repository_.store().SetHook([](FaultStore::Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "no connection").Retryable();
  });
  OverviewReader reader(kTestTime);
  EXPECT_EQ(reader.ReadUnverified("main", repository_.store()).error().code,
            ErrorCode::kUnavailable);
}

TEST_F(ClusterOverviewTest, WhatMayNotBeReadIsAProblemOfThisClusterAlone) {
  repository_.store().SetHook([](FaultStore::Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kPermissionDenied, "access denied");
  });
  const ClusterOverview overview = Read();
  EXPECT_TRUE(overview.is_cluster);
  EXPECT_EQ(overview.problems.size(), 1U);
}

TEST_F(ClusterOverviewTest, WithTheKeyForgeriesAreFoundAndBackupsCounted) {
  SourceTree source;
  Sentences sentences;
  ASSERT_TRUE(MakeBackup(repository_, TestBackupOptions(source, sentences)));
  PutDrill(2, true);
  // Without the key this looks like the newest backup.
  const std::string forged = "20261130-020000F";
  BackupSummary summary = TestSummary(*repository_, forged);
  Damage(BackupDocumentName(forged), SerializeSummary(summary, TestPolicy(Cipher::kNone)).value());
  EXPECT_EQ(Read().newest->label, forged);
  const ClusterOverview overview = ReadVerified();
  EXPECT_TRUE(overview.is_verified);
  EXPECT_EQ(overview.system_identifier, kTestSystem);
  EXPECT_EQ(overview.newest->label, kTestLabel);
  EXPECT_EQ(overview.backups, 1U);
  ASSERT_TRUE(overview.window);
  EXPECT_EQ(overview.window->start, overview.newest->stop_time);
  EXPECT_TRUE(overview.last_drill->passed);
  ASSERT_EQ(overview.problems.size(), 1U);
  EXPECT_THAT(overview.problems[0].message, HasSubstr("1 of the backups"));
  EXPECT_THAT(overview.problems[0].message, HasSubstr("cannot be restored: " + forged));
  for (int day = 10; day < 20; ++day) {
    Damage(BackupDocumentName(fmt::format("202610{}-020000F", day)), "x");
  }
  EXPECT_THAT(ReadVerified().problems[0].message, HasSubstr("11 of the backups"))
      << "the newest are named";
  EXPECT_THAT(ReadVerified().problems[0].message,
              HasSubstr(forged + ", 20261019-020000F, 20261018-020000F, 20261017-020000F, "
                                 "20261016-020000F and 6 older"));
}

TEST_F(ClusterOverviewTest, AnotherPassphraseIsAProblemOfItsCluster) {
  RepositoryOptions options = repository_.options();
  options.passphrase = SecretString("another one");
  const ClusterOverview overview =
      ReadVerifiedOverview("main", repository_.MakeStore(), options, repository_.environment(), {})
          .value();
  EXPECT_FALSE(overview.is_verified);
  ASSERT_EQ(overview.problems.size(), 1U);
  EXPECT_EQ(overview.problems[0].code, ErrorCode::kWrongKey);
}

}  // namespace
}  // namespace veza
