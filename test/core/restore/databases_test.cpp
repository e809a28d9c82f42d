// Restores of some databases: the named ones come back, and of the others only the sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "core/postgres/empty_databases.h"
#include "core/restore/database_choice.h"
#include "core/restore/test_restore.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using Operation = FaultStore::Operation;

// --- The choice ----------------------------------------------------------------------------------

class ChoiceTest : public testing::Test {
 protected:
  ChoiceTest() {
    backup_.label = kTestLabel;
    backup_.databases = {{16386, "b", 3, 20},       {5, "postgres", 1, 10},
                         {1, "template1", 1, 10},   {16385, "App", 2, 30},
                         {16387, "b,c", 3, 40},     {16388, "it's \"c\" ", 3, 1},
                         {16389, "\xc3\xa9", 3, 1}, {16390, "16386", 3, 1}};
  }
  // The oids that are restored, without those that always are.
  std::vector<std::uint32_t> Chosen(const std::vector<std::string>& names) {
    const auto choice = ChooseDatabases(backup_, names);
    EXPECT_OK(choice);
    if (!choice) {
      return {};
    }
    EXPECT_EQ(choice->restored.size() + choice->empty.size(), backup_.databases.size());
    std::vector<std::uint32_t> oids;
    for (const DatabaseSummary& database : choice->restored) {
      if (database.oid >= kFirstNormalOid) {
        oids.push_back(database.oid);
      }
    }
    return oids;
  }
  Error Refusal(const std::vector<std::string>& names, ErrorCode code) {
    const auto choice = ChooseDatabases(backup_, names);
    EXPECT_FALSE(choice);
    if (choice) {
      return {};
    }
    EXPECT_EQ(choice.error().code, code) << choice.error().message;
    return choice.error();
  }

  BackupSummary backup_;
};

TEST_F(ChoiceTest, NamesAreTakenAsTheyAre) {
  EXPECT_THAT(Chosen({"App"}), ElementsAre(16385));
  EXPECT_THAT(Chosen({"b,App"}), ElementsAre(16385, 16386));
  EXPECT_THAT(Chosen({"b", "App", "b"}), ElementsAre(16385, 16386));
  EXPECT_THAT(Chosen({"b,c"}), ElementsAre(16387));
  EXPECT_THAT(Chosen({"it's \"c\" ,\xc3\xa9"}), ElementsAre(16388, 16389));
  EXPECT_THAT(Chosen({"postgres"}), ElementsAre());
}

TEST_F(ChoiceTest, AnOidIsAcceptedUnlessADatabaseHasThatName) {
  EXPECT_THAT(Chosen({"16385"}), ElementsAre(16385));
  EXPECT_THAT(Chosen({"16386"}), ElementsAre(16390));
}

TEST_F(ChoiceTest, WhatInitdbMadeIsAlwaysRestored) {
  const auto choice = ChooseDatabases(backup_, {"b"});
  ASSERT_OK(choice);
  for (const DatabaseSummary& database : choice->empty) {
    EXPECT_GE(database.oid, kFirstNormalOid);
  }
  EXPECT_EQ(choice->restored.size(), 3U);
}

TEST_F(ChoiceTest, UnknownNamesAreRefusedWithThoseThereAre) {
  for (const char* name : {"app", "b,app", "", "b,", ",b", "App ", "c", "16391", "016385"}) {
    const Error error = Refusal({"b", name}, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, HasSubstr("has no database")) << name;
    EXPECT_THAT(error.hint,
                AllOf(HasSubstr("\"App\""), HasSubstr("\"postgres\""), HasSubstr("\"b,c\"")));
  }
}

// Names that are not UTF-8 have become the same by replacing the invalid bytes.
TEST_F(ChoiceTest, AnAmbiguousNameIsRefused) {
  backup_.databases.push_back({16400, "b", 3, 1});
  EXPECT_THAT(Refusal({"b"}, ErrorCode::kInvalidArgument).hint,
              AllOf(HasSubstr("16386"), HasSubstr("16400")));
  EXPECT_THAT(Chosen({"16400"}), ElementsAre(16400));
}

TEST_F(ChoiceTest, ABackupThatDoesNotNameItsDatabasesIsRefused) {
  backup_.databases.clear();
  EXPECT_THAT(Refusal({"b"}, ErrorCode::kFailedPrecondition).hint, HasSubstr("whole"));
}

TEST_F(ChoiceTest, ABackupWithoutFullPageWritesIsRefused) {
  backup_.settings["full_page_writes"] = "off";
  EXPECT_THAT(Refusal({"b"}, ErrorCode::kFailedPrecondition).message,
              HasSubstr("full_page_writes = off"));
  backup_.settings["full_page_writes"] = "on";
  EXPECT_THAT(Chosen({"b"}), ElementsAre(16386));
}

TEST_F(ChoiceTest, AnEmptyDatabaseIsEmptyInEveryTablespace) {
  const auto choice = ChooseDatabases(backup_, {"App"});
  ASSERT_OK(choice);
  for (const char* path : {"base/16386/1259", "base/16386/PG_VERSION", "base/16386/pg_filenode.map",
                           "base/16386/2000_init", "pg_tblspc/16500/PG_15_202209061/16386/100.1"}) {
    EXPECT_TRUE(choice->LeavesEmpty(path)) << path;
  }
  for (const char* path :
       {"base/16385/1259", "base/5/1259", "base/1/PG_VERSION", "global/1262", "PG_VERSION",
        "base/16391/1259", "pg_tblspc/16386/PG_15_202209061/16385/100", "mine/16386/100",
        "pg_xact/0000", "base/16386"}) {
    EXPECT_FALSE(choice->LeavesEmpty(path)) << path;
  }
}

// --- The restore ---------------------------------------------------------------------------------

constexpr Lsn kBefore{kTestStartLsn.value - 8};
constexpr Lsn kSince{kTestStartLsn.value};

class DatabasesTest : public testing::Test {
 protected:
  DatabasesTest() {
    SourceTree& source = fixture_.source;
    fixture_.jobs = 1;
    fixture_.databases = {{5, "postgres", 731, 0}, {16385, "app", 740, 0}, {16386, "log", 741, 0}};
    source.Tablespace(16500, source.Beside("space"));
    source.File("global/1262", NoiseBytes(8192, 1));
    source.File("base/5/100", NoiseBytes(100'000, 2));
    for (const char* database : {"base/16385", "base/16386"}) {
      source.File(std::string(database) + "/PG_VERSION", AsBytes("15\n"));
      source.File(std::string(database) + "/pg_filenode.map", NoiseBytes(512, 3));
      source.File(std::string(database) + "/3000_init", NoiseBytes(8192, 4));
      source.File(std::string(database) + "/3001", {});
    }
    source.File("base/16385/100", Pages(250, 5));
    source.File("base/16386/100", Pages(5120, 6));
    source.File("base/16386/101", Bytes(1U << 20), 0400);
    source.File("base/16391/100", NoiseBytes(5000, 7));  // created while the backup was made
    WriteBytes(InSpace("16385/200"), Pages(130, 8));
    WriteBytes(InSpace("16386/200"), Pages(1280, 9));
    source.File("pg_xact/0000", NoiseBytes(8192, 10));
  }

  // Pages that do not compress.
  static Bytes Pages(std::uint32_t count, std::uint64_t seed, Lsn lsn = kBefore) {
    Bytes content;
    for (std::uint32_t block = 0; block < count; ++block) {
      const Bytes page = TestPage(block, lsn, seed * 100'000);
      content.insert(content.end(), page.begin(), page.end());
    }
    return content;
  }
  std::string InSpace(const std::string& name) const {
    return fixture_.source.Beside("space") + "/" + kTestVersionDirectory + "/" + name;
  }
  std::string Space() const { return fixture_.source.Beside("restored-space"); }
  RestoreOptions Options(std::vector<std::string> databases) const {
    RestoreOptions options = fixture_.Options();
    options.tablespace_map = {{fixture_.source.Beside("space"), Space()}};
    options.databases = std::move(databases);
    return options;
  }

  // Expects that everything outside of the directories of database 16386 equals the source.
  void ExpectOnlyLogEmpty() const {
    Compare(fixture_.source.path(), fixture_.Target());
    Compare(fixture_.source.Beside("space"), Space());
  }
  static void Compare(const std::string& from, const std::string& to) {
    for (const auto& [path, item] : AsRestored(ReadTree(from))) {
      if (path == "postgresql.auto.conf" || path == "pg_tblspc/16500" || path.empty()) {
        continue;
      }
      struct stat info {};
      ASSERT_EQ(lstat((to + "/" + path).c_str(), &info), 0) << path;
      EXPECT_EQ(info.st_mode & 07777U, item.mode) << path;
      if (item.type != 'f') {
        continue;
      }
      const std::string content = ReadText(to + "/" + path);
      if (path.find("16386/") == std::string::npos) {
        EXPECT_TRUE(content == item.content) << path;
      } else {
        EXPECT_TRUE(content == std::string(item.content.size(), '\0')) << path;
        EXPECT_LE(info.st_blocks, 16) << path << " is not sparse";
      }
    }
  }
  std::string ReadTarget(const std::string& name) const {
    return ReadText(fixture_.Target() + "/" + name);
  }
  // The packs that hold data which are restored when database 16386 is not.
  std::set<std::string> WantedPacks(const BackupSummary& backup) {
    std::set<std::string> packs;
    const auto add = [&](const Extent& extent) {
      if (extent.pack != 0) {
        packs.insert(
            PackName(extent.source != 0 ? backup.full_label() : backup.label, extent.pack));
      }
    };
    EXPECT_OK(ReadManifest(*fixture_.repository, backup, [&](ManifestRecord&& record) {
      const auto* const file = std::get_if<FileRecord>(&record);
      if (file != nullptr && file->path.find("16386/") == std::string::npos) {
        std::ranges::for_each(file->extents, add);
        for (const PageExtent& pages : file->pages) {
          add(pages.extent);
        }
      }
      return Ok();
    }));
    return packs;
  }
  // The packs that are requested from now on.
  void CountGets() {
    fixture_.repository.store().SetHook([this](Operation operation, std::string_view name) {
      if (operation == Operation::kGet && name.find("/pack/") != name.npos) {
        const std::lock_guard lock(mutex_);
        gets_.emplace(name);
      }
      return Ok();
    });
  }

  RestoreFixture fixture_{Cipher::kAes256Gcm};
  std::mutex mutex_;
  std::set<std::string> gets_;
};

// Version 0.1 left out databases that were behind a symbolic link.
TEST_F(DatabasesTest, ADatabaseWithoutItsFilesIsRefused) {
  std::filesystem::remove_all(fixture_.source.In("base/16385"));
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  EXPECT_THAT(DatabasesWithoutFiles(*summary), testing::IsEmpty()) << "it has some elsewhere";
  const auto refused = PlanRestore(*fixture_.repository, Options({"app"}));
  EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("\"app\""));
  EXPECT_OK(PlanRestore(*fixture_.repository, Options({"log"})));
}

TEST_F(DatabasesTest, ADatabaseWithoutAnyFileIsNamed) {
  std::filesystem::remove_all(fixture_.source.In("base/16385"));
  std::filesystem::remove_all(InSpace("16385"));
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  const auto without = DatabasesWithoutFiles(*summary);
  ASSERT_EQ(without.size(), 1U);
  EXPECT_EQ(without[0].name, "app");
}

TEST_F(DatabasesTest, OnlyTheNamedDatabasesComeBack) {
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  const auto plan = PlanRestore(*fixture_.repository, Options({"app"}));
  ASSERT_OK(plan);
  constexpr std::uint64_t kEmptyInBase = 5120 * 8192 + (1U << 20) + 3 + 512 + 8192;
  constexpr std::uint64_t kEmptyInSpace = 1280 * 8192;
  EXPECT_EQ(plan->size, summary->size - kEmptyInBase - kEmptyInSpace);
  EXPECT_EQ(plan->tablespaces[0].size, 130U * 8192);
  ASSERT_EQ(plan->databases->empty.size(), 1U);
  EXPECT_EQ(plan->databases->empty[0].size, kEmptyInBase + kEmptyInSpace);

  CountGets();
  RestoreProgress progress;
  const auto report = ExecuteRestore(*fixture_.repository, *plan, progress);
  ASSERT_OK(report);
  ExpectOnlyLogEmpty();
  EXPECT_EQ(report->files, summary->files);
  EXPECT_EQ(report->bytes, plan->size);
  EXPECT_EQ(progress.bytes_total, plan->size);
  EXPECT_LT(report->bytes_fetched, plan->size + (1U << 20));
  EXPECT_EQ(gets_, WantedPacks(*summary));
  EXPECT_LT(gets_.size(), summary->packs);
}

TEST_F(DatabasesTest, TheServerIsToldWhichDatabasesAreEmpty) {
  ASSERT_OK(fixture_.Backup());
  ASSERT_OK(fixture_.Restore(Options({"app"})));
  const auto list = ParseEmptyDatabases(ReadTarget("veza-empty-databases"));
  ASSERT_OK(list);
  EXPECT_EQ(list->system_identifier, kTestSystem);
  EXPECT_EQ(list->backup, kTestLabel);
  ASSERT_EQ(list->databases.size(), 1U);
  EXPECT_EQ(list->databases[0].oid, 16386U);
  EXPECT_EQ(list->databases[0].name, "log");
  EXPECT_THAT(ReadTarget("postgresql.auto.conf"),
              AllOf(HasSubstr("ignore_invalid_pages = 'on'"), HasSubstr("archive_mode = 'off'")));
  EXPECT_TRUE(fixture_.HasControlFile());
}

TEST_F(DatabasesTest, WhenAllAreNamedNothingIsEmpty) {
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  const auto report = fixture_.Restore(Options({"log,app"}));
  ASSERT_OK(report);
  EXPECT_EQ(report->bytes, summary->size);
  EXPECT_FALSE(std::filesystem::exists(fixture_.Target() + "/veza-empty-databases"));
  EXPECT_THAT(ReadTarget("postgresql.auto.conf"), Not(HasSubstr("ignore_invalid_pages")));
  EXPECT_TRUE(ReadTarget("base/16386/100") == ReadText(fixture_.source.In("base/16386/100")));
}

TEST_F(DatabasesTest, WorksForADiffToo) {
  SourceTree& source = fixture_.source;
  const auto full = fixture_.Backup();
  ASSERT_OK(full);
  // Both databases get changed pages and a new file, and one file shrinks.
  for (const char* database : {"base/16385", "base/16386"}) {
    const std::string path = std::string(database) + "/100";
    Bytes content(ReadText(source.In(path)).size());
    const std::string before = ReadText(source.In(path));
    std::copy(before.begin(), before.end(), content.begin());
    for (const std::uint32_t block : {3U, 4U, 200U}) {
      const Bytes page = TestPage(block, kSince, 77);
      std::copy(page.begin(), page.end(), content.begin() + std::ptrdiff_t{block} * 8192);
    }
    source.File(path, content);
    source.File(std::string(database) + "/400", Pages(300, 20, kSince));
  }
  WriteBytes(InSpace("16386/200"), Pages(10, 9));
  const auto diff = fixture_.Diff(*full, {5, 16385, 16386});
  ASSERT_OK(diff);

  RestoreOptions options = Options({"app"});
  options.backup_label = diff->label;
  const auto plan = PlanRestore(*fixture_.repository, options);
  ASSERT_OK(plan);
  CountGets();
  RestoreProgress progress;
  const auto report = ExecuteRestore(*fixture_.repository, *plan, progress);
  ASSERT_OK(report);
  ExpectOnlyLogEmpty();
  EXPECT_EQ(report->bytes, plan->size);
  EXPECT_LT(report->bytes_fetched, plan->size + (1U << 20));
  EXPECT_EQ(gets_, WantedPacks(*diff));
  EXPECT_LT(gets_.size(), full->packs + diff->packs);
}

// A pack that is not needed may be missing. A pack with anything that is wanted may not.
TEST_F(DatabasesTest, DamageInEmptyDatabasesDoesNotMatter) {
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  ASSERT_FALSE(WantedPacks(*summary).contains(PackName(kTestLabel, 2)));
  std::filesystem::remove(fixture_.repository.PathOf(PackName(kTestLabel, 2)));
  ASSERT_OK(fixture_.Restore(Options({"app"})));
  ExpectOnlyLogEmpty();
  std::filesystem::remove_all(fixture_.Target());
  std::filesystem::remove_all(Space());
  EXPECT_ERROR(fixture_.Restore(Options({"log"})), ErrorCode::kDataCorrupted);
  EXPECT_FALSE(fixture_.HasControlFile());
}

TEST_F(DatabasesTest, OnlyRestoredDatabasesNeedSpace) {
  auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  const auto plan = PlanRestore(*fixture_.repository, Options({"app"}));
  ASSERT_OK(plan);
  const std::uint64_t empty = summary->size - plan->size;
  summary->size = 1ULL << 62;
  WriteText(fixture_.repository.PathOf(BackupDocumentName(kTestLabel)),
            SerializeSummary(*summary, fixture_.repository->seal_policy()).value());
  const auto refused = PlanRestore(*fixture_.repository, Options({"app"}));
  EXPECT_ERROR(refused, ErrorCode::kNoSpace);
  EXPECT_THAT(refused.error().message, HasSubstr(std::to_string((1ULL << 62) - empty)));
}

TEST_F(DatabasesTest, AStandbyADeltaAndUnknownNamesAreRefused) {
  ASSERT_OK(fixture_.Backup());
  RestoreOptions options = Options({"app"});
  options.standby = true;
  auto refused = PlanRestore(*fixture_.repository, options);
  EXPECT_ERROR(refused, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("standby"));
  options.standby = false;
  options.delta = true;
  refused = PlanRestore(*fixture_.repository, options);
  EXPECT_ERROR(refused, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("delta"));
  refused = PlanRestore(*fixture_.repository, Options({"app", "none"}));
  EXPECT_ERROR(refused, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().hint, HasSubstr("\"log\""));
  EXPECT_FALSE(std::filesystem::exists(fixture_.Target()));
}

// A later delta of all databases completes the cluster.
TEST_F(DatabasesTest, ADeltaOfAllDatabasesFillsTheEmptyOnes) {
  ASSERT_OK(fixture_.Backup());
  ASSERT_OK(fixture_.Restore(Options({"app"})));
  RestoreOptions options = Options({});
  options.delta = true;
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_FALSE(std::filesystem::exists(fixture_.Target() + "/veza-empty-databases"));
  EXPECT_THAT(ReadTarget("postgresql.auto.conf"), Not(HasSubstr("ignore_invalid_pages")));
  EXPECT_TRUE(ReadTarget("base/16386/100") == ReadText(fixture_.source.In("base/16386/100")));
}

}  // namespace
}  // namespace veza
