#include "core/timeline/names_of_relations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/postgres/catalog_page.h"
#include "core/repository/backup_files.h"
#include "core/restore/test_restore.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Lsn kBefore{kTestStartLsn.value - 8};
constexpr Lsn kLate{100 * kTestSegmentSize};
constexpr std::uint32_t kDefault = 1663;
constexpr std::uint32_t kGlobal = 1664;

Bytes Joined(const std::vector<CatalogPage>& pages) {
  Bytes content;
  for (const CatalogPage& page : pages) {
    content.insert(content.end(), page.bytes().begin(), page.bytes().end());
  }
  return content;
}

class NamesOfRelationsTest : public testing::TestWithParam<Cipher> {
 protected:
  NamesOfRelationsTest() {
    fixture_.source.Directory("base/1");
    fixture_.source.File("base/5/pg_filenode.map", FilenodeMap({{1259, 1259}, {1249, 16700}}));
    fixture_.source.File("base/1/pg_filenode.map", FilenodeMap({{1259, 1259}}));
    fixture_.source.File("global/pg_filenode.map", FilenodeMap({{1262, 1262}}));
    fixture_.source.File("base/5/2615", Schemas(kBefore).bytes());
    fixture_.source.File("base/1/2615", Schemas(kBefore).bytes());
    fixture_.source.File("base/1/1259",
                         CatalogPage(kBefore).Class(1262, "pg_database", 11, 0, kGlobal).bytes());
    fixture_.source.File("base/5/1259", Joined({First(kBefore), CatalogPage(kBefore)}));
  }
  static CatalogPage Schemas(Lsn lsn) {
    return CatalogPage(lsn).Namespace(11, "pg_catalog").Namespace(2200, "public");
  }
  static CatalogPage First(Lsn lsn) {
    return CatalogPage(lsn)
        .Class(16384, "was orders", 2200, 16384, 0, 900)
        .Class(16384, "orders", 2200, 16384)
        .Class(1249, "pg_attribute", 11, 0)
        .Class(2615, "pg_namespace", 11, 2615)
        .Class(16390, "elsewhere", 2200, 16390, 16380);
  }
  // As of a transaction on `timeline`. `histories` are those of the timelines behind the first.
  std::vector<std::string> Find(const std::set<RelationFile>& wanted, Lsn lsn,
                                TimelineId timeline = 1,
                                const std::vector<TimelineHistory>& histories = {}) {
    RelationsWanted relations;
    for (const RelationFile& file : wanted) {
      relations[{timeline, file}] = lsn;
    }
    return Find(relations, histories);
  }
  std::vector<std::string> Find(const RelationsWanted& wanted,
                                const std::vector<TimelineHistory>& histories) {
    const BackupCatalog catalog = ReadBackupCatalog(*fixture_.repository).value();
    const ArchiveMap archive(kTestSegmentSize, {}, histories);
    const auto names =
        FindNamesOfRelations(*fixture_.repository, catalog, archive, kTestSystem, wanted);
    EXPECT_OK(names);
    std::vector<std::string> texts;
    for (const auto& [relation, name] : *names) {
      texts.push_back(fmt::format("{} {}.{}.{}", relation.file.relation, name.database, name.schema,
                                  name.name));
    }
    return texts;
  }

  BackupSummary LaterDiff(const BackupSummary& full) {
    BackupSummary diff = fixture_.Diff(full).value();
    diff.stop_time += std::chrono::hours(1);
    diff.stop_lsn = Lsn{full.stop_lsn.value + kTestSegmentSize};
    Write(diff);
    return diff;
  }
  void Write(const BackupSummary& backup) {
    WriteText(fixture_.repository.PathOf(BackupDocumentName(backup.label)),
              SerializeSummary(backup, fixture_.repository->seal_policy()).value());
  }

  RestoreFixture fixture_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Ciphers, NamesOfRelationsTest,
                         testing::Values(Cipher::kNone, Cipher::kAes256Gcm));

TEST_P(NamesOfRelationsTest, TablesCatalogsAndWhatAllDatabasesShare) {
  ASSERT_OK(fixture_.Backup());
  EXPECT_THAT(Find({{kDefault, 5, 16384},
                    {kDefault, 5, 16700},
                    {kDefault, 5, 16390},
                    {16380, 5, 16390},
                    {kDefault, 5, 16999},
                    {kDefault, 6, 16384},
                    {kGlobal, 0, 1262}},
                   kLate),
              testing::UnorderedElementsAre(
                  "1262 .pg_catalog.pg_database", "16384 postgres.public.orders",
                  "16700 postgres.pg_catalog.pg_attribute", "16390 postgres.public.elsewhere"));
  EXPECT_THAT(Find({}, kLate), IsEmpty());
}

// VACUUM FULL gives the catalogs new files.
TEST_P(NamesOfRelationsTest, CatalogsThatWereRewritten) {
  fixture_.source.File("base/5/pg_filenode.map", FilenodeMap({{1259, 16800}}));
  fixture_.source.File("base/5/16800", CatalogPage(kBefore)
                                           .Class(16384, "orders", 2200, 16384)
                                           .Class(2615, "pg_namespace", 11, 2615, 0, 900)
                                           .Class(2615, "pg_namespace", 11, 16801)
                                           .bytes());
  fixture_.source.File("base/5/16801", CatalogPage(kBefore).Namespace(2200, "shop").bytes());
  ASSERT_OK(fixture_.Backup());
  EXPECT_THAT(Find({{kDefault, 5, 16384}}, kLate), ElementsAre("16384 postgres.shop.orders"));
}

// A diff has some pages, and the rest is in the packs of its full.
TEST_P(NamesOfRelationsTest, ADiffReplacesPages) {
  const BackupSummary full = fixture_.Backup().value();
  const Lsn later{kTestStartLsn.value + 8};
  fixture_.source.File(
      "base/5/1259",
      Joined({First(kBefore), CatalogPage(later).Class(16500, "newer", 2200, 16500)}));
  const BackupSummary diff = LaterDiff(full);
  const BackupFiles files = BackupFiles::Find(
                                *fixture_.repository, diff,
                                [](const std::string& path) { return path == "base/5/1259"; }, 1)
                                .value();
  ASSERT_EQ(files.files().size(), 1U);
  EXPECT_FALSE(files.files()[0].pages.empty());
  EXPECT_EQ(files.ReadSmall(files.files()[0], 1 << 20).value(),
            Joined({First(kBefore), CatalogPage(later).Class(16500, "newer", 2200, 16500)}));
  EXPECT_ERROR(files.ReadSmall(files.files()[0], 8192), ErrorCode::kDataCorrupted);
  EXPECT_THAT(Find({{kDefault, 5, 16384}, {kDefault, 5, 16500}}, kLate),
              ElementsAre("16384 postgres.public.orders", "16500 postgres.public.newer"));
}

// The one before the moment first, then the one after it for what was not there yet.
TEST_P(NamesOfRelationsTest, TwoBackupsTell) {
  const BackupSummary full = fixture_.Backup().value();
  fixture_.source.File("base/5/1259", CatalogPage(kTestStopLsn)
                                          .Class(16384, "renamed", 2200, 16384)
                                          .Class(16500, "newer", 2200, 16500)
                                          .bytes());
  const BackupSummary diff = LaterDiff(full);
  EXPECT_THAT(Find({{kDefault, 5, 16384}, {kDefault, 5, 16500}}, full.stop_lsn),
              ElementsAre("16384 postgres.public.orders", "16500 postgres.public.newer"));
  EXPECT_THAT(Find({{kDefault, 5, 16384}}, diff.stop_lsn),
              ElementsAre("16384 postgres.public.renamed"));
}

// Of a long time: what was made before each of two later backups.
TEST_P(NamesOfRelationsTest, ABackupBehindTheLastTransactionTellsTheRest) {
  const BackupSummary full = fixture_.Backup().value();
  const auto have = [&](std::uint32_t number) {
    fixture_.source.File("base/5/1259",
                         CatalogPage(kTestStopLsn).Class(number, "newer", 2200, number).bytes());
  };
  have(16500);
  const BackupSummary first = LaterDiff(full);
  have(16600);
  BackupSummary second = fixture_.Diff(full).value();
  second.stop_time += std::chrono::hours(2);
  second.stop_lsn = Lsn{first.stop_lsn.value + kTestSegmentSize};
  Write(second);
  EXPECT_THAT(Find({{{1, {kDefault, 5, 16500}}, full.stop_lsn},
                    {{1, {kDefault, 5, 16600}}, first.stop_lsn}},
                   {}),
              ElementsAre("16500 postgres.public.newer", "16600 postgres.public.newer"));
}

TEST_P(NamesOfRelationsTest, ADamagedBackupIsAnError) {
  const BackupSummary full = fixture_.Backup().value();
  WriteText(fixture_.repository.PathOf(PackName(full.label, 1)), "damaged");
  EXPECT_ERROR(
      FindNamesOfRelations(*fixture_.repository, ReadBackupCatalog(*fixture_.repository).value(),
                           ArchiveMap(kTestSegmentSize, {}, {}), kTestSystem,
                           {{{1, {kDefault, 5, 16384}}, kLate}}),
      ErrorCode::kDataCorrupted);
}

// A server that has left its timeline gives numbers that the other one gave behind that point.
TEST_P(NamesOfRelationsTest, ABackupOfTheTimelineThatWasLeftSaysNothingOfTheNewOne) {
  const BackupSummary full = fixture_.Backup().value();
  const std::set<RelationFile> wanted{{kDefault, 5, 16384}};
  const auto left_at = [](Lsn lsn) { return std::vector<TimelineHistory>{{2, {{1, lsn}}}}; };
  EXPECT_THAT(Find(wanted, kLate, 2, left_at(full.stop_lsn)),
              ElementsAre("16384 postgres.public.orders"));
  EXPECT_THAT(Find(wanted, kLate, 2, left_at(Lsn{full.stop_lsn.value - 8})), IsEmpty());
  EXPECT_THAT(Find(wanted, kLate, 2, {}), IsEmpty()) << "a way that is not known";
  EXPECT_THAT(Find(wanted, kBefore, 2, left_at(Lsn{full.stop_lsn.value - 8})),
              ElementsAre("16384 postgres.public.orders"))
      << "from before they parted";
}

TEST_P(NamesOfRelationsTest, ABackupOfTheNewTimelineSaysNothingOfWhatWasLeft) {
  BackupSummary full = fixture_.Backup().value();
  full.timeline = 2;
  Write(full);
  const std::vector<TimelineHistory> histories{{2, {{1, kTestStartLsn}}}};
  const RelationFile orders{kDefault, 5, 16384};
  EXPECT_THAT(Find({orders}, kBefore, 1, histories), ElementsAre("16384 postgres.public.orders"));
  EXPECT_THAT(Find({orders}, kTestStartLsn, 1, histories), IsEmpty());
  EXPECT_THAT(Find({orders}, kLate, 1, histories), IsEmpty());
  // Both in one answer.
  EXPECT_THAT(Find({{{1, orders}, kLate},
                    {{2, orders}, kLate},
                    {{1, {16380, 5, 16390}}, kBefore},
                    {{1, {kDefault, 5, 16700}}, kLate}},
                   histories),
              ElementsAre("16390 postgres.public.elsewhere", "16384 postgres.public.orders"));
}

// A table and its schema in LATIN1.
void PutLatin1(const SourceTree& source) {
  source.File("base/5/1259", CatalogPage(kBefore)
                                 .Class(16384,
                                        "gr\xF6\xDF"
                                        "e",
                                        2200, 16384)
                                 .Class(2615, "pg_namespace", 11, 2615)
                                 .bytes());
  source.File("base/5/2615", CatalogPage(kBefore).Namespace(2200, "l\xE4nge").bytes());
}

TEST_P(NamesOfRelationsTest, NamesAreUtf8WhateverTheDatabaseHas) {
  PutLatin1(fixture_.source);
  fixture_.source.File("global/pg_filenode.map", FilenodeMap({{1262, 16900}}));
  fixture_.source.File("global/16900", CatalogPage(kBefore)
                                           .Database(1, "template1", 6)
                                           .Database(5, "postgres", 23, 900)
                                           .Database(5, "postgres", 8)
                                           .bytes());
  ASSERT_OK(fixture_.Backup());
  EXPECT_THAT(Find({{kDefault, 5, 16384}}, kLate), ElementsAre("16384 postgres.länge.größe"));
}

TEST_P(NamesOfRelationsTest, NamesOfAnEncodingThatIsNotKnownAreEscaped) {
  PutLatin1(fixture_.source);
  ASSERT_OK(fixture_.Backup());
  EXPECT_THAT(Find({{kDefault, 5, 16384}}, kLate),
              ElementsAre("16384 postgres.l\\xE4nge.gr\\xF6\\xDFe"));
}

TEST_P(NamesOfRelationsTest, EventsAreToldWithNames) {
  const BackupSummary full = fixture_.Backup().value();
  std::vector<TimelineEvent> events(3);
  for (TimelineEvent& event : events) {
    event.timeline = 1;
    event.lsn = kLate;
  }
  events[0].parts = {{"dropped: ", RelationFile{kDefault, 5, 1638}},
                     {" ", RelationFile{kDefault, 5, 16384}},
                     {" ", RelationFile{kGlobal, 0, 1262}}};
  events[1].parts = {{"", RelationFile{.database = 55}},
                     {" made from ", RelationFile{.database = 5}}};
  events[2].text = "without numbers";
  const BackupCatalog catalog = ReadBackupCatalog(*fixture_.repository).value();
  const ArchiveMap archive(kTestSegmentSize, {}, {});
  const auto names = FindNamesOfRelations(*fixture_.repository, catalog, archive, kTestSystem,
                                          RelationsIn(events));
  ASSERT_OK(names);
  NameEvents(*names, events);
  EXPECT_EQ(events[0].text, "dropped: 1663/5/1638 postgres.public.orders pg_catalog.pg_database");
  EXPECT_EQ(events[1].text, "55 made from postgres");
  EXPECT_EQ(events[2].text, "without numbers");

  // Names of databases alone are in backup.json.
  std::filesystem::remove(fixture_.repository.PathOf(ManifestName(full.label)));
  EXPECT_THAT(Find({{.database = 5}, {.database = 55}}, kLate), ElementsAre("0 postgres.."));
}

// VACUUM FULL calls the new file pg_temp_<oid> until it takes the place of the old one.
TEST_P(NamesOfRelationsTest, TheNameOfARewriteCountsLeast) {
  fixture_.source.File("base/5/1259", CatalogPage(kBefore)
                                          .Class(16600, "pg_temp_16384", 2200, 16401, 0, 900)
                                          .Class(16384, "orders", 2200, 16401, 0, 901)
                                          .Class(16384, "orders later", 2200, 16401, 0, 902)
                                          .Class(16601, "pg_temp_16385", 2200, 16402, 0, 900)
                                          .Class(2615, "pg_namespace", 11, 2615)
                                          .bytes());
  ASSERT_OK(fixture_.Backup());
  EXPECT_THAT(Find({{kDefault, 5, 16401}, {kDefault, 5, 16402}}, kLate),
              ElementsAre("16401 postgres.public.orders", "16402 postgres.public.pg_temp_16385"));
}

}  // namespace
}  // namespace veza
